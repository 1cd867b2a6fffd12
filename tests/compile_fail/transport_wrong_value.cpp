// SPDX-License-Identifier: MIT
// A value of another axis is the wrong shape. World: any.
// expect: Transport
// mentions: TransportValue
#include <mitosis/policy/policy.hpp>

using Wrong = mitosis::Transport<mitosis::Eager>;
