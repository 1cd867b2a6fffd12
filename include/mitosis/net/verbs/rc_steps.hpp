// SPDX-License-Identifier: MIT
// The steps that bring a queue pair of a reliable connection to life by an own handshake: each side
// tells the other its end (rpc::QueuePairEnd). World: user.
#pragma once

#include <sodium.h>

#include <mitosis/net/rpc/rdma_messages.hpp>
#include <mitosis/net/verbs/nic.hpp>
#include <mitosis/net/verbs/queue_pair.hpp>

#include <algorithm>
#include <cstdint>

namespace mitosis::verbs {

/// How long a connection waits for its peer's device: a packet is repeated after 4.096 us * 2^ack,
/// `retries` times, then the connection is broken. (A device may wait up to four times as long. 7
/// retries mean for ever on rxe.)
struct Patience {
  std::uint8_t ack = 15;
  std::uint8_t retries = 5;
  std::uint8_t unready = 5;  ///< times a receiver without a receive is asked again; 7: for ever
};

/// The end of `pair`, to be told to the peer. `first_packet`: see `random_packet`.
[[nodiscard]] inline rpc::QueuePairEnd rc_end(const Nic& nic, const QueuePair& pair,
                                              std::uint32_t first_packet) noexcept {
  rpc::QueuePairEnd end;
  end.number = pair.number();
  end.first_packet = first_packet;
  end.lid = nic.lid();
  end.mtu = static_cast<std::uint8_t>(nic.mtu());
  end.reads = nic.reads_in();
  std::copy(nic.gid().raw, nic.gid().raw + end.gid.size(), end.gid.begin());
  return end;
}
/// The sequence number that a connection starts with; random, so that no packet of an earlier
/// connection is taken for one of this.
[[nodiscard]] inline std::uint32_t random_packet() noexcept {
  return randombytes_random() >> 8;
}

/// First. `access`: what the peer may do (IBV_ACCESS_...). Receives may be posted from now on.
[[nodiscard]] inline Result<void> rc_init(const Nic& nic, QueuePair& pair,
                                          unsigned access) noexcept {
  ibv_qp_attr init = {};
  init.qp_state = IBV_QPS_INIT;
  init.port_num = nic.port();
  init.qp_access_flags = access;
  return pair.modify(init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
                     "make a queue pair");
}
/// Second: connects it to the peer's end. May ask the network for the neighbour's address, which
/// takes up to seconds. After a failure it is of no use any more. bad_message: the peer's end is
/// none.
[[nodiscard]] inline Result<void> rc_connect(const Nic& nic, QueuePair& pair,
                                             std::uint32_t first_packet,
                                             const rpc::QueuePairEnd& theirs,
                                             const Patience& patience) noexcept {
  const char* const step = "connect a queue pair";
  if (theirs.mtu < IBV_MTU_256 || theirs.mtu > IBV_MTU_4096 || theirs.reads == 0) {
    return Error(Errc::bad_message, "a queue pair's end").in(step);
  }
  ibv_qp_attr receive = {};
  receive.qp_state = IBV_QPS_RTR;
  receive.path_mtu = static_cast<ibv_mtu>(std::min<int>(theirs.mtu, nic.mtu()));
  receive.dest_qp_num = theirs.number & 0xffffff;
  receive.rq_psn = theirs.first_packet & 0xffffff;
  receive.max_dest_rd_atomic = nic.reads_in();
  receive.min_rnr_timer = 12;  // 0.64 ms
  receive.ah_attr = nic.way();
  std::copy(theirs.gid.begin(), theirs.gid.end(), receive.ah_attr.grh.dgid.raw);
  receive.ah_attr.dlid = theirs.lid;
  if (auto r = pair.modify(receive,
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
  send.rnr_retry = patience.unready;
  send.sq_psn = first_packet;
  send.max_rd_atomic = std::min(theirs.reads, nic.reads_out());
  return pair.modify(send,
                     IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                         IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                     step);
}

}  // namespace mitosis::verbs
