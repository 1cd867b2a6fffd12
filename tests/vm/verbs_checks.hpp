// SPDX-License-Identifier: MIT
// The checks of a verbs fabric that verbs_peer runs against an owner on another machine.
// World: user.
#pragma once

#include <string>
#include <string_view>

namespace mitosis::vm {

/// 0 where it holds; else 1, and standard error says what does not.
int check(std::string_view what, const std::string& host);

}  // namespace mitosis::vm
