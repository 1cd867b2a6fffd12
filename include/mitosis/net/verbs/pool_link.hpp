// SPDX-License-Identifier: MIT
// PoolLink: the one connection that two machines' connection pools hold. World: user.
// A connected queue pair with buffers for messages in both directions; reads and writes go over it
// too. What exceeds its queues waits here. One thread, but for `make` and `raise`.
#pragma once

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/pool/message.hpp>
#include <mitosis/net/pool/switchboard.hpp>
#include <mitosis/net/verbs/completion_words.hpp>
#include <mitosis/net/verbs/device_choice.hpp>
#include <mitosis/net/verbs/memory_region.hpp>
#include <mitosis/net/verbs/queue_pair.hpp>

#include <sodium.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// Types of what is said while a link is set up, over an authenticated TCP connection that then
/// stays: it tells that the other pool has ended.
enum class LinkMessage : std::uint16_t { end = 1, ready = 2 };

/// One end, as the other needs it.
struct LinkEnd {
  static constexpr LinkMessage type = LinkMessage::end;
  std::uint32_t queue_pair = 0;
  std::uint32_t first_packet = 0;
  std::uint16_t lid = 0;
  std::uint8_t mtu = 0;
  std::uint8_t reads = 0;  ///< that it serves at a time
  std::array<std::uint8_t, 16> gid{};
  template <class A>
  void fields(A& a) {
    a(queue_pair, first_packet, lid, mtu, reads, gid);
  }
};
/// The other end may be sent to.
struct LinkReady {
  static constexpr LinkMessage type = LinkMessage::ready;
  template <class A>
  void fields(A&) {}
};

/// What all links of a pool are made of.
struct LinkDevice {
  const Context& context;
  const ProtectionDomain& domain;
  const CompletionQueue& sent;
  const CompletionQueue& received;
  ChosenGid at;
};

class PoolLink {
 public:
  static constexpr std::uint32_t slots = 256;      ///< messages in each direction
  static constexpr std::uint32_t transfers = 256;  ///< reads and writes on their way
  static constexpr std::uint32_t message_bytes = sizeof(pool::Message) + pool::max_message;
  /// 4.096 us * 2^16, seven times: a machine that is gone is lost within two seconds. A receiver
  /// that has no room is asked for as long as it lives: it makes room at once, once it runs.
  static constexpr std::uint8_t timeout = 16, retries = 6, ask_for_ever = 7;

  static Result<std::unique_ptr<PoolLink>> make(const LinkDevice& device) {
    std::unique_ptr<PoolLink> link(new PoolLink(device));
    link->memory_.resize(std::size_t{2} * slots * message_bytes);
    Result<MemoryRegion> region =
        MemoryRegion::make(device.domain, MutableBytes(link->memory_.data(), link->memory_.size()),
                           MemoryRegion::for_landing);
    if (!region.ok()) return region.error();
    link->region_.emplace(std::move(region).value());
    QueueSizes sizes;
    sizes.sends = slots + transfers;
    sizes.receives = slots;
    Result<QueuePair> queue =
        QueuePair::make(device.domain, IBV_QPT_RC, device.sent, device.received, sizes);
    if (!queue.ok()) return queue.error();
    link->queue_.emplace(std::move(queue).value());
    for (std::uint32_t i = 0; i < slots; ++i) link->free_.push_back(i);
    return link;
  }

  /// This end, to be told to the other.
  Result<LinkEnd> end() const {
    const Result<ibv_port_attr> port = device_.context.port(device_.at.port);
    const Result<ibv_device_attr> limits = device_.context.attributes();
    if (!port.ok()) return port.error();
    if (!limits.ok()) return limits.error();
    LinkEnd end;
    end.queue_pair = queue_->number();
    end.first_packet = first_packet_;
    end.lid = port->lid;
    end.mtu = static_cast<std::uint8_t>(port->active_mtu);
    end.reads = static_cast<std::uint8_t>(std::clamp(limits->max_qp_rd_atom, 1, 16));
    end.gid = device_.at.gid.bytes;
    return end;
  }
  /// Connects this end to the other: from now on it receives, and may send.
  Result<void> raise(const LinkEnd& other);

  [[nodiscard]] std::uint32_t number() const noexcept { return queue_->number(); }
  /// Sends a message, now or when there is room.
  void send(std::vector<std::uint8_t> bytes) {
    waiting_.push_back(std::move(bytes));
    push();
  }
  /// `local` is the memory of the transfer's process.
  void transfer(const pool::Transfer& t, const MemoryRegion& local) {
    queued_.push_back({t, local.get()->lkey, local.data() + t.offset});
    push();
  }
  /// One of its requests has ended well. The tag of a transfer; 0: it was a message.
  std::uint64_t ended(std::uint64_t id) {
    if (id < slots) {
      free_.push_back(static_cast<std::uint32_t>(id));
    } else {
      --out_;
    }
    push();
    return id < slots ? 0 : id - slots;
  }
  /// What has come into a slot; valid until `took` gives the slot back.
  [[nodiscard]] Bytes received(std::uint32_t slot, std::uint32_t bytes) const noexcept {
    return Bytes(memory_.data() + std::size_t{slot} * message_bytes, bytes);
  }
  Result<void> took(std::uint32_t slot) noexcept { return post_receive(slot); }
  /// Posting has failed: the queue pair is of no use.
  [[nodiscard]] bool broken() const noexcept { return broken_; }

 private:
  struct Queued {
    pool::Transfer transfer;
    std::uint32_t local_key = 0;
    std::uint8_t* local = nullptr;
  };

  explicit PoolLink(const LinkDevice& device)
      : device_(device), first_packet_(randombytes_random() & 0xffffff) {}

  Result<void> post_receive(std::uint32_t slot) noexcept {
    ibv_sge piece{
        reinterpret_cast<std::uint64_t>(memory_.data() + std::size_t{slot} * message_bytes),
        message_bytes, region_->get()->lkey};
    ibv_recv_wr request{};
    request.wr_id = slot;
    request.sg_list = &piece;
    request.num_sge = 1;
    ibv_recv_wr* refused = nullptr;
    return queue_->post_receives(request, refused);
  }
  void push() noexcept {
    while (!waiting_.empty() && !free_.empty() && !broken_) {
      const std::uint32_t slot = free_.back();
      free_.pop_back();
      std::uint8_t* const at = memory_.data() + (std::size_t{slots} + slot) * message_bytes;
      std::memcpy(at, waiting_.front().data(), waiting_.front().size());
      post(slot, IBV_WR_SEND, at, static_cast<std::uint32_t>(waiting_.front().size()),
           region_->get()->lkey, 0, 0);
      waiting_.pop_front();
    }
    while (!queued_.empty() && out_ < transfers && !broken_) {
      const Queued& q = queued_.front();
      ++out_;
      post(slots + q.transfer.tag, q.transfer.write ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ, q.local,
           q.transfer.bytes, q.local_key, q.transfer.remote_address, q.transfer.remote_key);
      queued_.pop_front();
    }
  }
  void post(std::uint64_t id, ibv_wr_opcode what, const std::uint8_t* at, std::uint32_t bytes,
            std::uint32_t key, std::uint64_t remote, std::uint32_t remote_key) noexcept {
    ibv_sge piece{reinterpret_cast<std::uint64_t>(at), bytes, key};
    ibv_send_wr request{};
    request.wr_id = id;
    request.sg_list = &piece;
    request.num_sge = bytes == 0 ? 0 : 1;
    request.opcode = what;
    request.send_flags = IBV_SEND_SIGNALED;
    request.wr.rdma.remote_addr = remote;
    request.wr.rdma.rkey = remote_key;
    ibv_send_wr* refused = nullptr;
    if (!queue_->post(request, refused).ok()) broken_ = true;
  }

  LinkDevice device_;
  std::uint32_t first_packet_;
  std::vector<std::uint8_t> memory_;  ///< slots to receive in, then slots to send from
  std::optional<MemoryRegion> region_;
  std::optional<QueuePair> queue_;
  std::vector<std::uint32_t> free_;
  std::uint32_t out_ = 0;  ///< transfers on their way
  bool broken_ = false;
  std::deque<std::vector<std::uint8_t>> waiting_;
  std::deque<Queued> queued_;
};

inline Result<void> PoolLink::raise(const LinkEnd& other) {
  const Result<LinkEnd> mine = end();
  if (!mine.ok()) return mine.error();
  if (other.mtu < IBV_MTU_256 || other.mtu > IBV_MTU_4096 || other.reads == 0) {
    return Error(Errc::bad_message, "the other end of a link");
  }
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = device_.at.port;
  attributes.qp_access_flags = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
  Result<void> done = queue_->modify(
      attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
      "link: init");
  for (std::uint32_t i = 0; done.ok() && i < slots; ++i) done = post_receive(i);
  if (!done.ok()) return done;
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = static_cast<ibv_mtu>(std::min(mine->mtu, other.mtu));
  attributes.dest_qp_num = other.queue_pair;
  attributes.rq_psn = other.first_packet;
  attributes.max_dest_rd_atomic = mine->reads;
  attributes.min_rnr_timer = 12;  // 0.64 ms
  attributes.ah_attr.is_global = 1;
  std::memcpy(attributes.ah_attr.grh.dgid.raw, other.gid.data(), other.gid.size());
  attributes.ah_attr.grh.sgid_index = static_cast<std::uint8_t>(device_.at.gid.index);
  attributes.ah_attr.grh.hop_limit = 64;
  attributes.ah_attr.dlid = other.lid;
  attributes.ah_attr.port_num = device_.at.port;
  done = queue_->modify(attributes,
                        IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                            IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
                        "link: ready to receive");
  if (!done.ok()) return done;
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = timeout;
  attributes.retry_cnt = retries;
  attributes.rnr_retry = ask_for_ever;
  attributes.sq_psn = first_packet_;
  attributes.max_rd_atomic = std::min(mine->reads, other.reads);
  return queue_->modify(attributes,
                        IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                            IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                        "link: ready to send");
}

}  // namespace mitosis::verbs
