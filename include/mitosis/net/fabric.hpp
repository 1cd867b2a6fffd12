// SPDX-License-Identifier: MIT
// Fabric: what carries bytes between machines (tcp, verbs, sim). World: any (freestanding).
// A fabric is used by one thread (one pager); it never blocks and completes every request.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/base/ids.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/mem/local_memory.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace mitosis {

/// Monotonic nanoseconds; virtual in the simulator.
enum class Time : std::uint64_t { never = ~std::uint64_t{0} };
constexpr Time operator+(Time t, std::uint64_t nanoseconds) noexcept {
  return Time{static_cast<std::uint64_t>(t) + nanoseconds};
}

/// Which queue a read takes: a demand read is never queued behind bulk ones.
enum class Lane : std::uint8_t { demand, bulk };

/// One one-sided read: `bytes` at `remote_address` of `target` on `peer`, into `into`, which must
/// stay valid until the completion with the same cookie.
struct ReadRequest {
  MachineId peer = MachineId::none;
  TargetName target;
  std::uint64_t remote_address = 0;
  std::uint32_t bytes = 0;
  Lane lane = Lane::demand;
  LocalMemory into;
  std::uint64_t cookie = 0;
  Time deadline = Time::never;
};

/// The end of one request. ok: all bytes have landed. revoked: the target is destroyed. Else
/// connection_lost, machine_unreachable, timed_out or page_unavailable, and no byte counts.
struct ReadCompletion {
  std::uint64_t cookie = 0;
  Errc status = Errc::ok;
};

/// Carries one-sided reads. `post` hands a batch over with one doorbell (one system call or one
/// MMIO write a peer and lane); it sets up a missing connection by itself and never blocks. Every
/// posted request completes exactly once, no later than soon after its deadline. `poll` moves
/// I/O along and returns how many completions it wrote. `forget` fails what is in flight to a peer
/// with connection_lost and drops its connection.
template <class F>
concept Fabric = requires(F f, Span<const ReadRequest> batch, Span<ReadCompletion> done,
                          MachineId peer, Time now) {
  { f.post(batch) }
  noexcept->std::same_as<void>;
  { f.poll(done, now) }
  noexcept->std::same_as<std::size_t>;
  { f.forget(peer) }
  noexcept->std::same_as<void>;
};

}  // namespace mitosis
