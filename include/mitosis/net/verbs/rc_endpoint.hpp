// SPDX-License-Identifier: MIT
// RcEndpoint: one end of a reliable connection, with a completion queue of its own. World: user.
// The own handshake: each side tells the other its end (rpc::QueuePairEnd) over the session between
// the agents. One completion queue a connection: it cannot overrun, and nothing of an earlier
// connection is ever found in it.
#pragma once

#include <mitosis/net/verbs/rc_steps.hpp>

#include <cstdint>
#include <utility>

namespace mitosis::verbs {

/// Move-only. `init` and `connect` bring it to life (or rdma_cm does, see CmId).
class RcEndpoint {
 public:
  /// What an end is for: to read from its peer, or to be read from.
  enum class Role : std::uint8_t { reader, target };
  static constexpr std::uint32_t depth = 128;  ///< requests that are open at a time

  /// `channel` may be null: then its completions are polled for.
  static Result<RcEndpoint> make(const Nic& nic, const EventChannel* channel, Role role) noexcept {
    QueueSizes sizes;
    sizes.sends = role == Role::reader ? depth : 1;
    auto completions = CompletionQueue::make(nic.context(), static_cast<int>(sizes.sends), channel);
    if (!completions) return completions.error();
    auto pair = QueuePair::make(nic.domain(), IBV_QPT_RC, *completions, *completions, sizes);
    if (!pair) return pair.error();
    return RcEndpoint(nic, std::move(completions).value(), std::move(pair).value(), role);
  }

  RcEndpoint(RcEndpoint&&) noexcept = default;
  RcEndpoint& operator=(RcEndpoint&&) = delete;  // the old pair would end after its queue
  ~RcEndpoint() = default;

  /// This end, to be told to the peer.
  [[nodiscard]] rpc::QueuePairEnd end() const noexcept {
    return rc_end(*nic_, pair_, first_packet_);
  }
  /// Before its end is told to anybody.
  [[nodiscard]] Result<void> init() noexcept {
    return rc_init(*nic_, pair_, role_ == Role::target ? unsigned{IBV_ACCESS_REMOTE_READ} : 0u);
  }
  /// Connects to the peer's end: see rc_connect.
  [[nodiscard]] Result<void> connect(const rpc::QueuePairEnd& theirs,
                                     const Patience& patience) noexcept {
    return rc_connect(*nic_, pair_, first_packet_, theirs, patience);
  }

  [[nodiscard]] QueuePair& pair() noexcept { return pair_; }
  [[nodiscard]] const CompletionQueue& completions() const noexcept { return completions_; }

 private:
  RcEndpoint(const Nic& nic, CompletionQueue completions, QueuePair pair, Role role) noexcept
      : nic_(&nic), completions_(std::move(completions)), pair_(std::move(pair)), role_(role) {}

  const Nic* nic_;
  CompletionQueue completions_;
  QueuePair pair_;  // after its queue, to end before it
  Role role_;
  std::uint32_t first_packet_ = random_packet();
};

}  // namespace mitosis::verbs
