// SPDX-License-Identifier: MIT
// What takes a policy is constrained: an int has no name. World: any.
// expect: name_of
// mentions: LegalPolicy
#include <mitosis/policy/name.hpp>

constexpr auto wrong = mitosis::name_of<int>;
