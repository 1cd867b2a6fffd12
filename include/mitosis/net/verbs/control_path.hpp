// SPDX-License-Identifier: MIT
// ControlPath: what a verbs fabric asks of other machines by calls. World: user.
// The authenticated session between two agents stays the way by which connections and keys are
// told; RDMA carries bytes alone.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/rpc/rdma_messages.hpp>

namespace mitosis::verbs {

/// Thread-safe; each call may block until its deadline.
class ControlPath {
 public:
  ControlPath() = default;
  ControlPath(const ControlPath&) = delete;
  ControlPath& operator=(const ControlPath&) = delete;
  virtual ~ControlPath() = default;
  virtual Result<rpc::QueuePairEnd> connect(MachineId peer, const rpc::ConnectQueuePair& ours,
                                            Time deadline) = 0;
  /// Where rdma_cm connects to the peer.
  virtual Result<rpc::ConnectionPlace> place(MachineId peer, const rpc::ExpectConnection& ours,
                                             Time deadline) = 0;
  virtual Result<rpc::PiecesReply> pieces(MachineId peer, const TargetName& target,
                                          Time deadline) = 0;
};

}  // namespace mitosis::verbs
