// SPDX-License-Identifier: MIT
// The default transport has its limit too: 1024 requests. World: any.
// expect: lower Prefetch<N> or change the Transport
#include <mitosis/policy/policy.hpp>

using namespace mitosis;
static_assert(Policy<Fetch<Prefetch<1024>>>::prefetch == 1024);
