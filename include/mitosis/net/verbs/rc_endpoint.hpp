// SPDX-License-Identifier: MIT
// RcEndpoint: one end of a reliable connection, with a completion queue of its own. World: user.
// The own handshake: each side tells the other its end (rpc::QueuePairEnd) over the session between
// the agents. One completion queue a connection: it cannot overrun, and nothing of an earlier
// connection is ever found in it.
#pragma once

#include <sys/random.h>

#include <mitosis/net/rpc/rdma_messages.hpp>
#include <mitosis/net/verbs/nic.hpp>
#include <mitosis/net/verbs/queue_pair.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>

namespace mitosis::verbs {

/// How long a connection waits for its peer's device: a packet is repeated after 4.096 us * 2^ack,
/// `retries` times, then the connection is broken. (A device may wait up to four times as long. 7
/// retries mean for ever on rxe.)
struct Patience {
  std::uint8_t ack = 15;
  std::uint8_t retries = 5;
};

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
    RcEndpoint made(nic, std::move(completions).value(), std::move(pair).value(), role);
    if (::getrandom(&made.first_packet_, sizeof made.first_packet_, 0) !=
        ssize_t{sizeof made.first_packet_}) {
      return Error(Errc::system_call_failed, "getrandom", errno).in("make a queue pair");
    }
    made.first_packet_ &= 0xffffff;
    return made;
  }

  RcEndpoint(RcEndpoint&&) noexcept = default;
  RcEndpoint& operator=(RcEndpoint&&) = delete;  // the old pair would end after its queue
  ~RcEndpoint() = default;

  /// This end, to be told to the peer.
  [[nodiscard]] rpc::QueuePairEnd end() const noexcept {
    rpc::QueuePairEnd end;
    end.number = pair_.number();
    end.first_packet = first_packet_;
    end.lid = nic_->lid();
    end.mtu = static_cast<std::uint8_t>(nic_->mtu());
    end.reads = nic_->reads_in();
    std::copy(nic_->gid().raw, nic_->gid().raw + end.gid.size(), end.gid.begin());
    return end;
  }
  /// Before its end is told to anybody.
  [[nodiscard]] Result<void> init() noexcept {
    ibv_qp_attr init = {};
    init.qp_state = IBV_QPS_INIT;
    init.port_num = nic_->port();
    init.qp_access_flags = role_ == Role::target ? unsigned{IBV_ACCESS_REMOTE_READ} : 0u;
    return pair_.modify(init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
                        "make a queue pair");
  }
  /// Connects to the peer's end. May ask the network for the neighbour's address, which takes up to
  /// seconds. After a failure it is of no use any more.
  [[nodiscard]] Result<void> connect(const rpc::QueuePairEnd& theirs,
                                     const Patience& patience) noexcept;

  [[nodiscard]] QueuePair& pair() noexcept { return pair_; }
  [[nodiscard]] const CompletionQueue& completions() const noexcept { return completions_; }

 private:
  RcEndpoint(const Nic& nic, CompletionQueue completions, QueuePair pair, Role role) noexcept
      : nic_(&nic), completions_(std::move(completions)), pair_(std::move(pair)), role_(role) {}

  const Nic* nic_;
  CompletionQueue completions_;
  QueuePair pair_;  // after its queue, to end before it
  Role role_;
  std::uint32_t first_packet_ = 0;
};

inline Result<void> RcEndpoint::connect(const rpc::QueuePairEnd& theirs,
                                        const Patience& patience) noexcept {
  const char* const step = "connect a queue pair";
  if (theirs.mtu < IBV_MTU_256 || theirs.mtu > IBV_MTU_4096 || theirs.reads == 0) {
    return Error(Errc::bad_message, "a queue pair's end").in(step);
  }
  ibv_qp_attr receive = {};
  receive.qp_state = IBV_QPS_RTR;
  receive.path_mtu = static_cast<ibv_mtu>(std::min<int>(theirs.mtu, nic_->mtu()));
  receive.dest_qp_num = theirs.number & 0xffffff;
  receive.rq_psn = theirs.first_packet & 0xffffff;
  receive.max_dest_rd_atomic = nic_->reads_in();
  receive.min_rnr_timer = 12;
  receive.ah_attr.is_global = 1;
  std::copy(theirs.gid.begin(), theirs.gid.end(), receive.ah_attr.grh.dgid.raw);
  receive.ah_attr.grh.sgid_index = nic_->gid_index();
  receive.ah_attr.grh.hop_limit = 64;
  receive.ah_attr.dlid = theirs.lid;
  receive.ah_attr.port_num = nic_->port();
  if (auto r = pair_.modify(receive,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
                            step);
      !r) {
    return r;
  }
  ibv_qp_attr send = {};
  send.qp_state = IBV_QPS_RTS;
  send.timeout = patience.ack;
  send.retry_cnt = patience.retries;
  send.rnr_retry = patience.retries;
  send.sq_psn = first_packet_;
  send.max_rd_atomic = std::min(theirs.reads, nic_->reads_out());
  return pair_.modify(send,
                      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                          IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                      step);
}

}  // namespace mitosis::verbs
