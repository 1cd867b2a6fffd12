// SPDX-License-Identifier: MIT
// policy_of(): the policy that a prepare asks for. World: user.
#pragma once

#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/parse.hpp>

#include <string>

namespace mitosis::agent::detail {

/// The policy that is asked for; refused where no child could have it.
inline Result<PolicyName> policy_of(const std::string& asked, const std::string& otherwise) {
  const std::string& text = asked.empty() ? otherwise : asked;
  const auto policy = parse_policy(text.c_str(), text.size());
  if (!policy) return policy.error();
  if (auto r = with_policy(*policy, [](auto) {}); !r) return r.error();
  return *policy;
}

}  // namespace mitosis::agent::detail
