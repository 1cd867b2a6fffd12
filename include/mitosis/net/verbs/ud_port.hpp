// SPDX-License-Identifier: MIT
// UdPort: sends and receives datagrams on one queue pair. World: user; one thread at a time.
// Datagrams are copied into and out of registered buffers of its own: they are small.
#pragma once

#include <poll.h>

#include <mitosis/net/rpc/ud/datagram.hpp>
#include <mitosis/net/rpc/ud/way.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/verbs/completion_words.hpp>
#include <mitosis/net/verbs/device_choice.hpp>
#include <mitosis/net/verbs/memory_region.hpp>
#include <mitosis/net/verbs/queue_pair.hpp>
#include <mitosis/net/verbs/ud_ways.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// What every queue pair of these calls has for its Q_Key: it keeps strays out, not enemies.
inline constexpr std::uint32_t ud_key = 0x4d495431;

class UdPort {
 public:
  /// A device's MTU is the port's: datagrams are as long at most.
  /// `waits`: a first datagram to somebody waits for the network to tell the way; else it leaves
  /// once that is known, with `send_parked`.
  static Result<std::unique_ptr<UdPort>> open(const ChosenGid& at, std::uint32_t receives,
                                              std::uint32_t sends, bool waits = true) {
    std::unique_ptr<UdPort> port(new UdPort(at, receives, sends, waits));
    if (Result<void> done = port->start(); !done.ok()) {
      return done.error().in("open a port for datagrams");
    }
    return port;
  }
  UdPort(const UdPort&) = delete;
  UdPort& operator=(const UdPort&) = delete;
  /// What was sent last leaves first, as far as the device is quick: a queue pair that ends drops
  /// it.
  ~UdPort() {
    const Time deadline = tcp::deadline_in(100);
    while (queue_ && free_.size() < sends_ && tcp::monotonic_now() < deadline) {
      if (!reap().ok()) return;
    }
  }

  /// Where others reach it.
  [[nodiscard]] rpc::ud::Way way() const noexcept {
    return {at_.gid.bytes, queue_->number(), lid_};
  }
  [[nodiscard]] std::uint32_t datagram_bytes() const noexcept { return datagram_bytes_; }
  /// Readable when a datagram has come since `arm`.
  [[nodiscard]] int fd() const noexcept { return channel_->fd(); }

  /// Hands a datagram to the device; what cannot be sent is lost, as datagrams may be. Waits for a
  /// buffer where all are on their way: microseconds. machine_unreachable: no way to there.
  [[nodiscard]] Result<void> send(const rpc::ud::Way& to, Bytes datagram);
  /// Of a port that does not wait: readable when `send_parked` has something to do.
  [[nodiscard]] int ways_fd() const noexcept { return ways_->fd(); }
  [[nodiscard]] Result<void> send_parked() {
    Result<void> done;
    for (const UdWays::Parked& each : ways_->take()) {
      Result<void> sent = send(each.to, Bytes(each.bytes.data(), each.bytes.size()));
      if (!sent.ok() && done.ok()) done = sent;
    }
    return done;
  }

  /// Calls `take(way, datagram)` for what has come; how many. connection_lost: the port is broken.
  template <class Take>
  [[nodiscard]] Result<std::size_t> receive(Take take) {
    ibv_wc done[16];
    std::size_t count = 0;
    for (;;) {
      const Result<std::size_t> got = received_->poll(Span<ibv_wc>(done));
      if (!got.ok()) return got.error();
      for (std::size_t i = 0; i < *got; ++i) {
        const auto buffer = static_cast<std::uint32_t>(done[i].wr_id);
        if (done[i].status != IBV_WC_SUCCESS) {
          return Error(Errc::connection_lost, words(done[i].status)).in("receive datagrams");
        }
        if (done[i].byte_len > grh_bytes) {
          const std::uint8_t* const bytes = receive_buffer(buffer);
          take(sender(bytes, done[i]),
               Bytes(bytes + grh_bytes, std::size_t{done[i].byte_len} - grh_bytes));
        }
        if (Result<void> posted = post_receive(buffer); !posted.ok()) return posted.error();
      }
      count += *got;
      if (*got < sizeof done / sizeof *done) return count;
    }
  }
  /// What the device has told by itself: whoever has the Nic looks after it. Now and then.
  void drop_events() const noexcept { context_->drop_events(); }
  /// The next datagram makes `fd()` readable; call `receive` once more before waiting for it.
  [[nodiscard]] Result<void> arm() noexcept {
    channel_->drain();
    return received_->arm();
  }

 private:
  static constexpr std::uint32_t grh_bytes = 40;  ///< in front of each datagram (ibv_create_qp(3))

  UdPort(const ChosenGid& at, std::uint32_t receives, std::uint32_t sends, bool waits)
      : at_(at), receives_(receives), sends_(sends), waits_(waits) {}

  Result<void> start();
  Result<void> connect_nothing();
  /// Null: it is not known, and not to be waited for.
  Result<const AddressHandle*> handle(const rpc::ud::Way& to);
  [[nodiscard]] Result<void> reap_until(std::uint32_t free);

  [[nodiscard]] std::uint8_t* receive_buffer(std::uint32_t number) noexcept {
    return memory_.data() + std::size_t{number} * (grh_bytes + datagram_bytes_);
  }
  [[nodiscard]] std::uint8_t* send_buffer(std::uint32_t number) noexcept {
    return receive_buffer(receives_) + std::size_t{number} * datagram_bytes_;
  }
  Result<void> post_receive(std::uint32_t buffer) noexcept {
    ibv_sge piece{reinterpret_cast<std::uint64_t>(receive_buffer(buffer)),
                  grh_bytes + datagram_bytes_, region_->get()->lkey};
    ibv_recv_wr request{};
    request.wr_id = buffer;
    request.sg_list = &piece;
    request.num_sge = 1;
    ibv_recv_wr* refused = nullptr;
    return queue_->post_receives(request, refused);
  }
  /// The network header is in front: IPv4's in the last 20 bytes of the room for it (RoCE v2), else
  /// a GRH, which is laid out as IPv6's.
  [[nodiscard]] rpc::ud::Way sender(const std::uint8_t* header, const ibv_wc& done) const noexcept {
    rpc::ud::Way way;
    way.queue_pair = done.src_qp;
    way.lid = at_.gid.type == GidType::infiniband ? done.slid : std::uint16_t{0};
    if (at_.gid.type == GidType::roce_v2 && is_ipv4(at_.gid.bytes)) {
      way.gid[10] = way.gid[11] = 0xff;
      std::memcpy(way.gid.data() + 12, header + 20 + 12, 4);
    } else {
      std::memcpy(way.gid.data(), header + 8, way.gid.size());
    }
    return way;
  }
  /// Takes back the buffers of what has been sent.
  Result<void> reap() noexcept {
    ibv_wc done[16];
    const Result<std::size_t> got = sent_->poll(Span<ibv_wc>(done));
    if (!got.ok()) return got.error();
    Result<void> failed;
    for (std::size_t i = 0; i < *got; ++i) {
      free_.push_back(static_cast<std::uint32_t>(done[i].wr_id));
      if (done[i].status != IBV_WC_SUCCESS && failed.ok()) {
        failed = Error(Errc::connection_lost, words(done[i].status)).in("send datagrams");
      }
    }
    return failed;
  }

  ChosenGid at_;
  std::uint32_t receives_, sends_;
  bool waits_;
  std::uint32_t datagram_bytes_ = 0;
  std::uint16_t lid_ = 0;
  std::vector<std::uint8_t> memory_;
  std::vector<std::uint32_t> free_;  ///< send buffers
  // In this order: each ends before what it was made of.
  std::optional<Context> context_;
  std::optional<ProtectionDomain> domain_;
  std::optional<MemoryRegion> region_;
  std::optional<EventChannel> channel_;
  std::optional<CompletionQueue> received_, sent_;
  std::optional<UdWays> ways_;
  std::optional<QueuePair> queue_;
};

inline Result<void> UdPort::start() {
  const auto keep = [](auto& place, auto made) -> Result<void> {
    if (!made.ok()) return made.error();
    place.emplace(std::move(made).value());
    return {};
  };
  Result<void> done = keep(context_, Context::open(at_.device.c_str()));
  if (!done.ok()) return done;
  const Result<ibv_port_attr> port = context_->port(at_.port);
  if (!port.ok()) return port.error();
  lid_ = port->lid;
  datagram_bytes_ = std::min(128u << port->active_mtu, rpc::ud::max_datagram);
  if (datagram_bytes_ < rpc::ud::min_datagram) {
    return Error(Errc::transport_unsupported,
                 "the port's MTU is under 512 bytes; use --fabric tcp");
  }
  memory_.resize(std::size_t{receives_} * (grh_bytes + datagram_bytes_) +
                 std::size_t{sends_} * datagram_bytes_);
  if (!(done = keep(domain_, ProtectionDomain::make(*context_))).ok()) return done;
  if (!(done =
            keep(region_, MemoryRegion::make(*domain_, MutableBytes(memory_.data(), memory_.size()),
                                             MemoryRegion::for_landing)))
           .ok()) {
    return done;
  }
  ways_.emplace(*domain_, at_.port, at_.gid.index);
  if (!(done = keep(channel_, EventChannel::make(*context_))).ok()) return done;
  const auto entries = [](std::uint32_t count) { return static_cast<int>(count); };
  if (!(done = keep(received_, CompletionQueue::make(*context_, entries(receives_), &*channel_)))
           .ok()) {
    return done;
  }
  if (!(done = keep(sent_, CompletionQueue::make(*context_, entries(sends_), nullptr))).ok()) {
    return done;
  }
  QueueSizes sizes;
  sizes.sends = sends_;
  sizes.receives = receives_;
  if (!(done = keep(queue_, QueuePair::make(*domain_, IBV_QPT_UD, *sent_, *received_, sizes)))
           .ok()) {
    return done;
  }
  if (!(done = connect_nothing()).ok()) return done;
  for (std::uint32_t i = 0; i < receives_; ++i) {
    if (!(done = post_receive(i)).ok()) return done;
  }
  for (std::uint32_t i = 0; i < sends_; ++i) free_.push_back(i);
  return {};
}

/// A queue pair for datagrams goes through the states of a connected one, with nobody to connect
/// to.
inline Result<void> UdPort::connect_nothing() {
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = at_.port;
  attributes.qkey = ud_key;
  Result<void> done = queue_->modify(
      attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY, "queue pair: init");
  if (!done.ok()) return done;
  attributes.qp_state = IBV_QPS_RTR;
  if (!(done = queue_->modify(attributes, IBV_QP_STATE, "queue pair: ready to receive")).ok()) {
    return done;
  }
  attributes.qp_state = IBV_QPS_RTS;
  return queue_->modify(attributes, IBV_QP_STATE | IBV_QP_SQ_PSN, "queue pair: ready to send");
}

inline Result<const AddressHandle*> UdPort::handle(const rpc::ud::Way& to) {
  if (const AddressHandle* const known = ways_->find(to); known != nullptr) return known;
  if (ways_->full()) {
    // A handle must outlive what was sent with it.
    if (Result<void> sent = reap_until(sends_); !sent.ok()) return sent.error();
    ways_->forget();
  }
  if (waits_) return ways_->make(to);
  return nullptr;
}

/// Waits until so many send buffers are free.
inline Result<void> UdPort::reap_until(std::uint32_t free) {
  // A device that sends nothing for a second is broken.
  const Time deadline = tcp::deadline_in(1000);
  do {
    if (Result<void> reaped = reap(); !reaped.ok()) return reaped;
    if (tcp::monotonic_now() >= deadline) {
      return Error(Errc::connection_lost, "the device does not send").in("send datagrams");
    }
  } while (free_.size() < free);
  return {};
}

inline Result<void> UdPort::send(const rpc::ud::Way& to, Bytes datagram) {
  if (datagram.size() > datagram_bytes_) return Error(Errc::limit_exceeded, "a datagram");
  Result<const AddressHandle*> way = handle(to);
  if (!way.ok()) return way.error();
  if (*way == nullptr) {
    ways_->park(to, datagram);
    return {};
  }
  if (Result<void> room = reap_until(1); !room.ok()) return room;
  const std::uint32_t buffer = free_.back();
  std::memcpy(send_buffer(buffer), datagram.data(), datagram.size());
  ibv_sge piece{reinterpret_cast<std::uint64_t>(send_buffer(buffer)),
                static_cast<std::uint32_t>(datagram.size()), region_->get()->lkey};
  ibv_send_wr request{};
  request.wr_id = buffer;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_SEND;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.ud.ah = (*way)->get();
  request.wr.ud.remote_qpn = to.queue_pair;
  request.wr.ud.remote_qkey = ud_key;
  ibv_send_wr* refused = nullptr;
  if (Result<void> posted = queue_->post(request, refused); !posted.ok()) return posted;
  free_.pop_back();
  return {};
}

}  // namespace mitosis::verbs
