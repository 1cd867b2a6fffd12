// SPDX-License-Identifier: MIT
// An axis given twice has no meaning. World: any.
// expect: give each axis of Policy at most once
#include <mitosis/policy/policy.hpp>

using namespace mitosis;
static_assert(Policy<Cow<On>, Transport<RC>, Cow<Off>>::copy_on_write);
