// SPDX-License-Identifier: MIT
// No prefetch is said as OnDemand, so that one behaviour has one name. World: any.
// expect: use Fetch<OnDemand> for no prefetch
#include <mitosis/policy/policy.hpp>

using namespace mitosis;
static_assert(Policy<Fetch<Prefetch<0>>>::prefetch == 0);
