// SPDX-License-Identifier: MIT
// policy_of(): the policy that a prepare asks for. World: user.
#pragma once

#include <fmt/format.h>

#include <mitosis/fork/user/agent/rdma_side.hpp>
#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/name.hpp>
#include <mitosis/policy/parse.hpp>

#include <string>

namespace mitosis::agent::detail {

/// Refuses what the agent's device cannot do; `rdma` null: there is none, TCP does all.
inline Result<void> check_transport(const PolicyName& policy, const RdmaSide* rdma) {
  if (rdma == nullptr || policy.transport != TransportKind::dct) return {};
  const Result<void> dynamic = rdma->dynamic();
  if (dynamic) return {};
  PolicyName other = policy;
  other.transport = TransportKind::rc;
  const std::string about = fmt::format("{} (here {}; {})", dynamic.error().subject.c_str(),
                                        format(other).c_str(), rdma->device());
  return Error(Errc::transport_unsupported, about.c_str()).in("choose the policy");
}

/// The policy that is asked for; refused where no child of this machine could have it.
inline Result<PolicyName> policy_of(const std::string& asked, const std::string& otherwise,
                                    const RdmaSide* rdma) {
  const std::string& text = asked.empty() ? otherwise : asked;
  const auto policy = parse_policy(text.c_str(), text.size());
  if (!policy) return policy.error();
  if (auto r = with_policy(*policy, [](auto) {}); !r) return r.error();
  if (auto r = check_transport(*policy, rdma); !r) return r.error();
  return *policy;
}

}  // namespace mitosis::agent::detail
