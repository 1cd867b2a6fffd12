// SPDX-License-Identifier: MIT
// A value without its axis: On could be meant for Cow or for Profile. World: any.
// expect: wrap every argument of Policy in its axis
#include <mitosis/policy/policy.hpp>

using namespace mitosis;
static_assert(Policy<Transport<DCT>, On>::dct);
