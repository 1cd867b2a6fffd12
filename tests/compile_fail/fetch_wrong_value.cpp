// SPDX-License-Identifier: MIT
// Fetch takes OnDemand, Prefetch<N> or Eager. World: any.
// expect: Fetch
// mentions: FetchValue
#include <mitosis/policy/policy.hpp>

using Wrong = mitosis::Fetch<mitosis::Local>;
