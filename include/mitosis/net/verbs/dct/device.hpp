// SPDX-License-Identifier: MIT
// DcDevice: what dynamic connections need of a device, and no more. World: user.
// `mlx5_device.hpp` models it with mlx5dv, the tests with memory: all that decides is written
// against this concept, since no machine of ours has such hardware.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/mem/local_memory.hpp>
#include <mitosis/net/verbs/remote_memory.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace mitosis::verbs {

/// A port that has targets.
struct DcPort {
  std::array<std::uint8_t, 16> gid{};
  std::uint16_t lid = 0;  ///< InfiniBand only
  friend constexpr bool operator==(const DcPort&, const DcPort&) noexcept = default;
};

/// One read of a doorbell.
struct DcWork {
  std::uint64_t id = 0;  ///< comes back in its DcEnd
  RemoteMemory from;     ///< all of it
  LocalMemory into;
};
struct DcEnd {
  std::uint64_t id = 0;
  Errc status = Errc::ok;
};

/// Initiators read; targets are read from, each opened by its key, and gone for everybody once
/// destroyed; handles say the way to a port. All three are move-only owners.
/// `post` hands reads of one target to an initiator with one doorbell; each ends once in `poll`. An
/// initiator that had an error takes nothing until `reset`, after which nothing of before lands.
/// After `arm` the next end makes `fd` readable; poll once more before sleeping on it. `drain`
/// makes it unreadable: who has nothing under way any more would be woken for ever by an end that
/// it has polled before it was told of.
template <class D>
concept DcDevice = requires(D d, typename D::Initiator& initiator, const typename D::Target& target,
                            const typename D::Handle& handle, const DcPort& port, std::uint64_t key,
                            std::uint32_t number, Span<const DcWork> work, Span<DcEnd> ends) {
  { d.make_initiator() } -> std::same_as<Result<typename D::Initiator>>;
  { d.reset(initiator) } -> std::same_as<Result<void>>;
  { d.make_target(key) } -> std::same_as<Result<typename D::Target>>;
  { d.number(target) } -> std::same_as<std::uint32_t>;
  { d.make_handle(port) } -> std::same_as<Result<typename D::Handle>>;
  { d.post(initiator, handle, number, key, work) } -> std::same_as<Result<void>>;
  { d.poll(ends) } -> std::same_as<std::size_t>;
  { d.arm() } -> std::same_as<Result<void>>;
  { d.drain() } -> std::same_as<void>;
  { d.fd() } -> std::same_as<int>;
};
static_assert(!DcDevice<int>);

}  // namespace mitosis::verbs
