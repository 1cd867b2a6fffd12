// SPDX-License-Identifier: MIT
// A switch is On or Off; a bool is not. World: any.
// expect: Cow
// mentions: SwitchValue
#include <mitosis/policy/policy.hpp>

using Wrong = mitosis::Cow<bool>;
