// SPDX-License-Identifier: MIT
// The agent's RDMA side, where the verbs library is there. World: user.
#include <mitosis/fork/user/agent/verbs_side.hpp>

namespace mitosis::agent {

Result<std::unique_ptr<RdmaSide>> open_rdma(const AgentOptions& options, TargetTable& targets,
                                            Peers& peers,
                                            std::function<std::uint64_t()> budget_left,
                                            int images) {
  auto opened = VerbsSide::open(options, targets, peers, std::move(budget_left), images);
  if (!opened) return opened.error().in("open the RDMA device");
  return std::unique_ptr<RdmaSide>(std::move(opened).value());
}

bool rdma_is_there(const AgentOptions& options) {
  return verbs::Nic::open(VerbsSide::wish_of(options)).ok();  // a listed one may be on its way out
}

}  // namespace mitosis::agent
