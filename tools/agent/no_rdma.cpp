// SPDX-License-Identifier: MIT
// The agent's RDMA side, where it was built without the verbs library. World: user.
#include <mitosis/fork/user/agent/peers.hpp>
#include <mitosis/fork/user/agent/rdma_side.hpp>

namespace mitosis::agent {

Result<std::unique_ptr<RdmaSide>> open_rdma(const AgentOptions&, TargetTable&, Peers&,
                                            std::function<std::uint64_t()>, int) {
  return Error(Errc::transport_unsupported,
               "this mitosis was built without libibverbs (meson -Drdma=enabled)")
      .in("open the RDMA device");
}

bool rdma_is_there(const AgentOptions&) {
  return false;
}

}  // namespace mitosis::agent
