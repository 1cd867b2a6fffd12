// SPDX-License-Identifier: MIT
// A fault and its prefetch go out with one doorbell; DCT's send queue holds 128. World: any.
// expect: lower Prefetch<N> or change the Transport
#include <mitosis/policy/policy.hpp>

using namespace mitosis;
static_assert(Policy<Transport<DCT>, Fetch<Prefetch<128>>>::dct);
