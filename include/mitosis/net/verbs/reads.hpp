// SPDX-License-Identifier: MIT
// Reads: what a verbs fabric needs of a transport: one-sided reads of places that it has found out.
// World: user. RcReads and DctReads model it.
#pragma once

#include <mitosis/net/verbs/fabric_context.hpp>
#include <mitosis/net/verbs/piece_map.hpp>
#include <mitosis/net/verbs/read_queue.hpp>

#include <concepts>

namespace mitosis::verbs {

/// `place` takes a read, for the next `flush`, or says false where it cannot be read that way now;
/// the map is of the read's target. Each read that was taken comes once into the context's `done`,
/// or into `rerouted` where it is to go the second way; from then on the device writes no byte of
/// it. `poll` moves it along, `expire`s included, and sees to it that `fd` (-1: none) becomes
/// readable when there is more. `forget` ends a peer's with connection_lost.
template <class R>
concept Reads = requires(R r, const R& c, const PlacedRead& read, const PieceMap& pieces, Time now,
                         MachineId peer) {
  typename R::Device;
  { r.place(read, pieces, now) } -> std::same_as<bool>;
  r.flush(now);
  r.poll(now);
  r.forget(peer);
  { c.fd() } -> std::same_as<int>;
  { c.soonest() } -> std::same_as<Time>;
  { c.busy() } -> std::same_as<bool>;
};
static_assert(!Reads<int>);

/// The Reads of a Transport value: specialised beside each of them.
template <class Transport>
struct ReadsOf;

}  // namespace mitosis::verbs
