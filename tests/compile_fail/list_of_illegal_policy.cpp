// SPDX-License-Identifier: MIT
// A list of compiled policies holds only legal ones. World: any.
// expect: PolicyList
// mentions: LegalPolicy
#include <mitosis/policy/list.hpp>

using namespace mitosis;
using Wrong = PolicyList<Policy<>, Policy<Fetch<Prefetch<0>>>>;
