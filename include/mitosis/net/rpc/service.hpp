// SPDX-License-Identifier: MIT
// Service: what an agent does when another machine calls. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/rpc/rdma_messages.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mitosis::rpc {

/// Who calls, as authenticated, and until when the answer is of use to it.
struct Caller {
  MachineId machine = MachineId::none;
  Time deadline = Time::never;  ///< CLOCK_MONOTONIC of this machine
};

/// A descriptor to be sent; its bytes are shared with whoever else resumes it.
struct DescriptorLease {
  std::shared_ptr<const std::vector<std::uint8_t>> bytes;  ///< not null, at most max_descriptor
  Generation generation{};
  std::uint64_t lease_ms = 0;
  std::string policy = {};
};

/// The agent implements it. Called by all session threads at once; a call may block until the
/// caller's deadline and no longer (the server's stop waits for it). Errors travel to the caller
/// with all their context.
class Service {
 public:
  virtual ~Service() = default;
  virtual Result<DescriptorLease> query_descriptor(const Caller& caller, HandlerId handler,
                                                   const AuthKey& key) = 0;
  virtual Result<void> fallback_read(const Caller& caller, const TargetName& target,
                                     std::uint64_t address, MutableBytes into) = 0;
  virtual Result<void> reclaim(const Caller& caller, HandlerId handler, const AuthKey& key) = 0;
  /// The new lease in milliseconds.
  virtual Result<std::uint64_t> renew_lease(const Caller& caller, HandlerId handler,
                                            Generation generation) = 0;

  // ---- of an agent that has verbs; the others say that they have none ----
  /// Makes the other end of a caller's queue pair. It may live as long as the session `session`.
  virtual Result<rpc::QueuePairEnd> connect_queue_pair(const Caller&, std::uint64_t /*session*/,
                                                       const ConnectQueuePair&) {
    return without_verbs();
  }
  /// Waits for a caller's connection by rdma_cm, as long as the session lives.
  virtual Result<ConnectionPlace> expect_connection(const Caller&, std::uint64_t /*session*/,
                                                    const ExpectConnection&) {
    return without_verbs();
  }
  virtual Result<PiecesReply> query_pieces(const Caller&, const TargetName&) {
    return without_verbs();
  }
  /// Where this machine takes calls by datagrams.
  virtual Result<ud::Way> query_way(const Caller&) { return without_verbs(); }
  /// The session of that number has ended; none of its calls is in progress.
  virtual void on_session_end(std::uint64_t /*session*/) {}

 private:
  static Error without_verbs() {
    return Error(Errc::transport_unsupported, "this machine's agent runs without --fabric verbs");
  }
};

}  // namespace mitosis::rpc
