// SPDX-License-Identifier: MIT
// Way: where datagrams go to and come from. World: user; plain data.
#pragma once

#include <array>
#include <cstdint>

namespace mitosis::rpc::ud {

/// A queue pair on a port. Whoever sends makes an address handle of it.
struct Way {
  std::array<std::uint8_t, 16> gid{};
  std::uint32_t queue_pair = 0;
  std::uint16_t lid = 0;  ///< InfiniBand only
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the implied 0 for a pointer
  friend constexpr auto operator<=>(const Way&, const Way&) noexcept = default;
};

}  // namespace mitosis::rpc::ud
