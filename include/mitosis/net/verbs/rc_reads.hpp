// SPDX-License-Identifier: MIT
// RcReads: the reads of a verbs fabric over reliable connections, one a peer and lane. World: user;
// one thread.
#pragma once

#include <mitosis/net/lane_set.hpp>
#include <mitosis/net/tcp/pool_memory.hpp>
#include <mitosis/net/verbs/piece_map.hpp>
#include <mitosis/net/verbs/read_lane.hpp>
#include <mitosis/net/verbs/reads.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace mitosis::verbs {

class RcReads {
 public:
  using Device = const Nic;

  [[nodiscard]] static Result<std::unique_ptr<RcReads>> make(Device& nic, FabricContext& context) {
    auto channel = EventChannel::make(nic.context());
    if (!channel) return channel.error();
    return std::unique_ptr<RcReads>(new RcReads(nic, context, std::move(channel).value()));
  }
  RcReads(const RcReads&) = delete;
  RcReads& operator=(const RcReads&) = delete;

  // The Reads concept.
  [[nodiscard]] int fd() const noexcept { return channel_.fd(); }
  [[nodiscard]] bool place(const PlacedRead& read, const PieceMap&, Time now) {
    const Grant grant = lanes_.admit({read.request.peer, read.request.lane}, false);
    if (grant.kind != Grant::go && grant.kind != Grant::bind) return false;
    ReadLane& lane = lanes_[grant.endpoint];
    if (!lane.usable(now)) return false;
    lane.enqueue(read, now);
    return true;
  }
  void flush(Time now) { lanes_.flush(now); }
  void poll(Time now) {
    // With nothing to do too: an event may be of a completion that was taken before it was told
    // of, and a channel that is left readable would wake the caller for ever.
    if ((armed_ || !busy()) && channel_.drain() > 0) {
      // Of which lane is not told, and it may have nothing to do by now.
      lanes_.for_each([](ReadLane& lane) { lane.disarm(); });
      armed_ = false;
    }
    if (!context_->nic->usable()) {
      for (const std::uint32_t endpoint : lanes_.hot()) lanes_[endpoint].give_up(now);
    }
    const std::size_t before = context_->done.size();
    for (const std::uint32_t endpoint : lanes_.hot()) lanes_[endpoint].poll(now);
    lanes_.expire(now);
    // Nothing came: the caller may sleep. What came between the look and the arming is taken now.
    if (context_->done.size() == before && context_->options.events) {
      for (const std::uint32_t endpoint : lanes_.hot()) {
        if (lanes_[endpoint].armed()) continue;
        lanes_[endpoint].arm(now);
        armed_ = true;
        lanes_[endpoint].poll(now);
      }
    }
    lanes_.cool();
  }
  void forget(MachineId peer) {
    lanes_.forget(peer, [](ReadLane& lane) { lane.fail(Errc::connection_lost); });
    lanes_.cool();
  }
  [[nodiscard]] Time soonest() const noexcept { return lanes_.soonest(); }
  [[nodiscard]] bool busy() const noexcept { return !lanes_.hot().empty(); }

  /// Connections that are up now.
  [[nodiscard]] std::size_t connections() const noexcept {
    std::size_t up = 0;
    lanes_.for_each([&](const ReadLane& lane) { up += lane.connected() ? 1 : 0; });
    return up;
  }

 private:
  RcReads(Device& nic, FabricContext& context, EventChannel channel) noexcept
      : context_(&context), channel_(std::move(channel)), lanes_(context) {
    context.nic = &nic;
    context.channel = &channel_;
  }

  FabricContext* context_;
  EventChannel channel_;
  LaneSet<ReadLane, FabricContext, PoolOf<RC>::type> lanes_;
  bool armed_ = false;  ///< some lane may be
};

template <>
struct ReadsOf<RC> {
  using type = RcReads;
};
static_assert(Reads<RcReads>);

}  // namespace mitosis::verbs
