// SPDX-License-Identifier: MIT
// parse_compiled_policy: the name of a policy that this build has. World: user.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/name.hpp>
#include <mitosis/policy/parse.hpp>

#include <string>
#include <string_view>

namespace mitosis::tools {

/// The canonical name. policy_unknown, policy_not_compiled.
inline Result<std::string> parse_compiled_policy(std::string_view text) {
  const Result<PolicyName> name = parse_policy(text);
  if (!name) return name.error();
  if (const auto there = with_policy(*name, [](auto) {}); !there) return there.error();
  return std::string(format(*name).c_str());
}

}  // namespace mitosis::tools
