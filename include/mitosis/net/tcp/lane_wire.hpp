// SPDX-License-Identifier: MIT
// The format of read lanes: fixed records, so that serving a read parses nothing. World: any.
// Requests and replies are in the same order. The reply to a request is one or more parts: each a
// PartHeader and its bytes; all parts but the last have `max_part` bytes; a part whose status is
// not ok has no bytes and is the request's last. So the receiver always knows what comes next.
#pragma once

#include <mitosis/base/ids.hpp>

#include <bit>
#include <cstdint>

namespace mitosis::tcp {

static_assert(std::endian::native == std::endian::little,
              "lane records are little-endian; a big-endian port must convert them");

inline constexpr std::uint32_t max_read = std::uint32_t{2} << 20;  ///< bytes of one request
/// Bytes of one part: what the server reads before it sends. Small enough to stay in a core's
/// cache between the two, large enough that system calls do not count.
inline constexpr std::uint32_t max_part = 64 * 1024;

struct LaneRequest {
  std::uint32_t target_number = 0;
  std::uint32_t bytes = 0;  ///< 1 to max_read; anything else ends the connection
  std::uint64_t target_key = 0;
  std::uint64_t address = 0;
  std::uint64_t sequence = 0;  ///< 0, 1, 2, ... on each connection
};
static_assert(sizeof(LaneRequest) == 32);

struct PartHeader {
  std::uint64_t sequence = 0;  ///< the request's
  std::uint32_t status = 0;    ///< Errc
  std::uint32_t bytes = 0;     ///< that follow
};
static_assert(sizeof(PartHeader) == 16);

/// The bytes of the next part when `left` bytes of the request are outstanding.
constexpr std::uint32_t part_bytes(std::uint32_t left) noexcept {
  return left < max_part ? left : max_part;
}

}  // namespace mitosis::tcp
