// SPDX-License-Identifier: MIT
// EndpointPool: which endpoint a request takes; RcPool and DctPool model it. World: any
// (freestanding). Pools decide and do no I/O: a fabric asks them and does what they say.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/net/fabric.hpp>

#include <concepts>
#include <cstdint>

namespace mitosis {

/// What an endpoint is connected to: a peer's demand reads and its bulk reads go separate ways, so
/// that the former never queue behind the latter.
struct Destination {
  MachineId peer = MachineId::none;
  Lane lane = Lane::demand;
  friend constexpr bool operator==(const Destination&, const Destination&) noexcept = default;
};

/// Where a request goes. `go`: over `endpoint`, which is bound to its destination. `bind`: the
/// same, but `endpoint` must first be pointed at the destination (it has nothing in flight).
/// `wait`: ask again when a request has ended. `refuse`: never (no memory for one more peer).
struct Grant {
  enum Kind : std::uint8_t { go, bind, wait, refuse };
  Kind kind = wait;
  std::uint32_t endpoint = 0;
};

/// Binds endpoints to destinations. `admit` counts a request in where it grants an endpoint, given
/// whether requests to other destinations wait; `finish` counts requests out. `release` unbinds an
/// endpoint and counts all of its requests out. `endpoints` is how many there are: indices are
/// below it. `bound` tells which endpoint a destination has; `none` where it has none.
template <class P>
concept EndpointPool = requires(P p, const P& c, Destination d, std::uint32_t endpoint,
                                std::uint32_t requests, bool others_wait) {
  { p.admit(d, others_wait) }
  noexcept->std::same_as<Grant>;
  { p.finish(endpoint, requests) }
  noexcept->std::same_as<void>;
  { p.release(endpoint) }
  noexcept->std::same_as<void>;
  { c.bound(d) }
  noexcept->std::same_as<std::uint32_t>;
  { c.endpoints() }
  noexcept->std::same_as<std::uint32_t>;
};
inline constexpr std::uint32_t no_endpoint = 0xffffffffu;
static_assert(!EndpointPool<int>);

/// The pool of a Transport value: specialised beside each pool.
template <class Transport>
struct PoolOf;

}  // namespace mitosis
