// SPDX-License-Identifier: MIT
// PoolLink: the one connection that two machines' connection pools hold. World: user.
// A connected queue pair with buffers for messages in both directions; reads and writes go over it
// too. What exceeds its queues waits here. One thread, but for `make` and `raise`.
#pragma once

#include <mitosis/net/pool/area.hpp>
#include <mitosis/net/pool/message.hpp>
#include <mitosis/net/pool/transfer.hpp>
#include <mitosis/net/verbs/rc_steps.hpp>

#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// What all links of a pool are made of.
struct LinkDevice {
  const Nic& nic;
  const CompletionQueue& sent;
  const CompletionQueue& received;
};

class PoolLink {
 public:
  static constexpr std::uint32_t slots = 256;      ///< messages in each direction
  static constexpr std::uint32_t transfers = 256;  ///< reads and writes on their way
  static constexpr std::uint32_t message_bytes = sizeof(pool::Message) + pool::max_message;
  static constexpr std::size_t memory_bytes = std::size_t{2} * slots * message_bytes;
  /// 4.096 us * 2^16, seven times: a machine that is gone is lost within two seconds. A receiver
  /// that has no room is asked for as long as it lives: it makes room at once, once it runs.
  static constexpr Patience patience = {16, 6, 7};

  static Result<std::unique_ptr<PoolLink>> make(const LinkDevice& device) {
    std::unique_ptr<PoolLink> link(new PoolLink(device));
    link->memory_.resize(memory_bytes);
    Result<MemoryRegion> region = MemoryRegion::make(
        device.nic.domain(), MutableBytes(link->memory_.data(), link->memory_.size()),
        MemoryRegion::for_landing);
    if (!region.ok()) return region.error();
    link->region_.emplace(std::move(region).value());
    QueueSizes sizes;
    sizes.sends = slots + transfers;
    sizes.receives = slots;
    Result<QueuePair> queue =
        QueuePair::make(device.nic.domain(), IBV_QPT_RC, device.sent, device.received, sizes);
    if (!queue.ok()) return queue.error();
    link->queue_.emplace(std::move(queue).value());
    for (std::uint32_t i = 0; i < slots; ++i) link->free_.push_back(i);
    return link;
  }

  /// This end, to be told to the other.
  [[nodiscard]] rpc::QueuePairEnd end() const noexcept {
    return rc_end(device_.nic, *queue_, first_packet_);
  }
  /// Connects this end to the other: from now on it receives, and may send.
  Result<void> raise(const rpc::QueuePairEnd& other) {
    Result<void> done =
        rc_init(device_.nic, *queue_, IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE);
    for (std::uint32_t i = 0; done.ok() && i < slots; ++i) done = post_receive(i);
    if (!done.ok()) return done;
    return rc_connect(device_.nic, *queue_, first_packet_, other, patience);
  }

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

  explicit PoolLink(const LinkDevice& device) : device_(device) {}

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
  std::uint32_t first_packet_ = random_packet();
  std::vector<std::uint8_t> memory_;  ///< slots to receive in, then slots to send from
  std::optional<MemoryRegion> region_;
  std::optional<QueuePair> queue_;
  std::vector<std::uint32_t> free_;
  std::uint32_t out_ = 0;  ///< transfers on their way
  bool broken_ = false;
  std::deque<std::vector<std::uint8_t>> waiting_;
  std::deque<Queued> queued_;
};

}  // namespace mitosis::verbs
