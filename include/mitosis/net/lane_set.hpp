// SPDX-License-Identifier: MIT
// LaneSet: the connections of a fabric, each to one peer for one kind of reads. World: user; one
// thread. Which destination has which is the pool's decision (endpoint_pool.hpp).
#pragma once

#include <mitosis/net/endpoint_pool.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mitosis {

/// `LaneType(context, endpoint)` makes one; it has bind, flush, expire, soonest, busy. They are
/// made when first needed and kept. A lane is *hot* from its admission until it is no more busy.
template <class LaneType, class Context, EndpointPool Pool>
class LaneSet {
 public:
  explicit LaneSet(Context& context) noexcept : context_(&context) {}

  /// Where the pool grants an endpoint its lane is bound, hot, and one of the next `flush`.
  Grant admit(Destination destination, bool others_wait) {
    const Grant grant = pool_.admit(destination, others_wait);
    if (grant.kind != Grant::go && grant.kind != Grant::bind) return grant;
    if (lanes_.size() <= grant.endpoint) lanes_.resize(grant.endpoint + 1);
    std::unique_ptr<LaneType>& lane = lanes_[grant.endpoint];
    if (lane == nullptr) lane = std::make_unique<LaneType>(*context_, grant.endpoint);
    if (grant.kind == Grant::bind) lane->bind(destination);
    note(hot_, grant.endpoint);
    note(posted_, grant.endpoint);
    return grant;
  }
  [[nodiscard]] LaneType& operator[](std::uint32_t endpoint) noexcept { return *lanes_[endpoint]; }
  /// Of the lanes that were admitted to since the last time.
  void flush(Time now) {
    for (const std::uint32_t endpoint : posted_) lanes_[endpoint]->flush(now);
    posted_.clear();
  }
  void expire(Time now) {
    for (const std::uint32_t endpoint : hot_) {
      if (now >= lanes_[endpoint]->soonest()) lanes_[endpoint]->expire(now);
    }
  }
  /// When `expire` has something to do.
  [[nodiscard]] Time soonest() const noexcept {
    Time soonest = Time::never;
    for (const std::uint32_t endpoint : hot_) {
      const Time of_lane = lanes_[endpoint]->soonest();
      if (of_lane < soonest) soonest = of_lane;
    }
    return soonest;
  }
  [[nodiscard]] const std::vector<std::uint32_t>& hot() const noexcept { return hot_; }
  /// Drops those that are not busy from the hot ones.
  void cool() {
    std::size_t kept = 0;
    for (const std::uint32_t endpoint : hot_) {
      if (lanes_[endpoint]->busy()) hot_[kept++] = endpoint;
    }
    hot_.resize(kept);
  }
  /// Calls `end(lane)` of the peer's, which then are nobody's.
  template <class End>
  void forget(MachineId peer, End end) {
    for (const Lane lane : {Lane::demand, Lane::bulk}) {
      const std::uint32_t endpoint = pool_.bound({peer, lane});
      if (endpoint == no_endpoint) continue;
      end(*lanes_[endpoint]);
      pool_.release(endpoint);
    }
  }
  template <class Each>
  void for_each(Each each) const {
    for (const auto& lane : lanes_) {
      if (lane != nullptr) each(*lane);
    }
  }
  [[nodiscard]] Pool& pool() noexcept { return pool_; }

 private:
  static void note(std::vector<std::uint32_t>& list, std::uint32_t endpoint) {
    for (const std::uint32_t each : list) {
      if (each == endpoint) return;
    }
    list.push_back(endpoint);
  }

  Context* context_;
  Pool pool_;
  std::vector<std::unique_ptr<LaneType>> lanes_;  ///< by endpoint
  std::vector<std::uint32_t> hot_;                ///< endpoints with something to wait for
  std::vector<std::uint32_t> posted_;             ///< endpoints to flush
};

}  // namespace mitosis
