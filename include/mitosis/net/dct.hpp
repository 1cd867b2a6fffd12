// SPDX-License-Identifier: MIT
// DctPool: a fixed number of initiators for any number of peers. World: any (freestanding).
// An initiator belongs to a destination while it has requests in flight, and is pointed elsewhere,
// least recently used first, when it is idle. (On verbs that is an address handle in the work
// request; over tcp it is a new connection.)
#pragma once

#include <mitosis/net/endpoint_pool.hpp>
#include <mitosis/policy/axes.hpp>

#include <cstdint>

namespace mitosis {

/// `Initiators` endpoints, of which bulk reads may hold all but `Reserved`, so that a demand read
/// finds one. While requests to other destinations wait, an initiator takes `quantum` requests for
/// its destination and then no more until it has drained: nobody waits for ever.
template <std::uint32_t Initiators = 8, std::uint32_t Reserved = Initiators / 4>
class DctPool {
  static_assert(Initiators > Reserved, "leave at least one initiator to bulk reads");

 public:
  static constexpr std::uint32_t quantum = 32;

  Grant admit(Destination d, bool others_wait) noexcept {
    const std::uint32_t own = bound(d);
    if (own != no_endpoint) {
      Slot& slot = slots_[own];
      const bool used_up = others_wait && slot.served >= quantum;
      if (used_up || slot.in_flight >= DCT::send_queue) return {Grant::wait, own};
      return take(own, Grant::go);
    }
    if (d.lane == Lane::bulk && bulk_busy() >= Initiators - Reserved) return {};
    const std::uint32_t idle = least_recently_used();
    if (idle == no_endpoint) return {};
    slots_[idle] = Slot{};
    slots_[idle].destination = d;
    slots_[idle].bound = true;
    return take(idle, Grant::bind);
  }
  void finish(std::uint32_t endpoint, std::uint32_t requests) noexcept {
    Slot& slot = slots_[endpoint];
    slot.in_flight -= requests < slot.in_flight ? requests : slot.in_flight;
    // Drained: whoever waits for an initiator can have this one. Else two destinations that both
    // have had their quantum would wait for each other beside idle initiators.
    if (slot.in_flight == 0) slot.served = 0;
  }
  void release(std::uint32_t endpoint) noexcept { slots_[endpoint] = Slot{}; }
  [[nodiscard]] std::uint32_t bound(Destination d) const noexcept {
    for (std::uint32_t i = 0; i < Initiators; ++i) {
      if (slots_[i].bound && slots_[i].destination == d) return i;
    }
    return no_endpoint;
  }
  [[nodiscard]] std::uint32_t endpoints() const noexcept { return Initiators; }

 private:
  struct Slot {
    Destination destination;
    bool bound = false;
    std::uint32_t in_flight = 0;
    std::uint32_t served = 0;     ///< since it was last idle
    std::uint64_t last_used = 0;  ///< of use_, 0: never
  };

  Grant take(std::uint32_t endpoint, Grant::Kind kind) noexcept {
    Slot& slot = slots_[endpoint];
    ++slot.in_flight;
    ++slot.served;
    slot.last_used = ++use_;
    return {kind, endpoint};
  }
  [[nodiscard]] std::uint32_t bulk_busy() const noexcept {
    std::uint32_t busy = 0;
    for (const Slot& slot : slots_) {
      if (slot.in_flight > 0 && slot.destination.lane == Lane::bulk) ++busy;
    }
    return busy;
  }
  [[nodiscard]] std::uint32_t least_recently_used() const noexcept {
    std::uint32_t found = no_endpoint;
    for (std::uint32_t i = 0; i < Initiators; ++i) {
      if (slots_[i].in_flight > 0) continue;
      if (found == no_endpoint || slots_[i].last_used < slots_[found].last_used) found = i;
    }
    return found;
  }

  Slot slots_[Initiators];
  std::uint64_t use_ = 0;
};
static_assert(EndpointPool<DctPool<8>>);

template <>
struct PoolOf<DCT> {
  using type = DctPool<>;
};

}  // namespace mitosis
