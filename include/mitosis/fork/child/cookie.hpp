// SPDX-License-Identifier: MIT
// Cookie: what a completion is recognised by. World: any (freestanding).
// One fabric serves many children, and a completion may come late: the cookie names the child's
// slot, the read, and which use of the read's slot it was.
#pragma once

#include <mitosis/fork/engine/plan.hpp>

#include <cstdint>

namespace mitosis {

struct Cookie {
  std::uint32_t child = 0;     ///< the platform's slot of the child
  std::uint32_t sequence = 0;  ///< 24 bits
  OpId op = 0;

  static constexpr std::uint32_t sequence_mask = 0xffffff;

  [[nodiscard]] constexpr std::uint64_t pack() const noexcept {
    return std::uint64_t{child} << 32 | std::uint64_t{sequence & sequence_mask} << 8 | op;
  }
  [[nodiscard]] static constexpr Cookie unpack(std::uint64_t packed) noexcept {
    return {static_cast<std::uint32_t>(packed >> 32),
            static_cast<std::uint32_t>(packed >> 8) & sequence_mask,
            static_cast<OpId>(packed & 0xff)};
  }
};
static_assert(Cookie::unpack(Cookie{7, 9, 63}.pack()).child == 7);
static_assert(max_ops <= 256);

}  // namespace mitosis
