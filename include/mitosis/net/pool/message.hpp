// SPDX-License-Identifier: MIT
// Message: what two machines' connection pools tell each other over the connection that they hold.
// World: user. Pools trust each other (they have proved that they are of the cluster), but look at
// every number all the same.
#pragma once

#include <mitosis/base/span.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::pool {

/// Part of the protocol: append, never renumber.
enum class Kind : std::uint32_t {
  find = 1,   ///< is there such a `service`?
  found,      ///< what it exposes: `address`, `remote_key`, `bytes`
  missing,    ///< there is none (any more)
  gone,       ///< a service that was found has ended; to be answered by `forgotten`
  forgotten,  ///< nothing of it is being read or written any more
  data,       ///< a message from queue `from` to `to` (0: to the service)
  credit,     ///< `to` may send `bytes` messages more
  closed,     ///< queue `to` has no other end any more
};

struct Message {
  Kind kind = Kind::find;
  std::uint32_t from = 0;
  std::uint32_t to = 0;
  std::uint32_t remote_key = 0;
  std::uint64_t service = 0;
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
};
static_assert(sizeof(Message) == 40);  // little-endian, as all of our machines are

[[nodiscard]] inline std::vector<std::uint8_t> encode(const Message& message, Bytes payload = {}) {
  std::vector<std::uint8_t> bytes(sizeof message + payload.size());
  std::memcpy(bytes.data(), &message, sizeof message);
  if (!payload.empty()) std::memcpy(bytes.data() + sizeof message, payload.data(), payload.size());
  return bytes;
}
/// False where the bytes are too short to be one.
[[nodiscard]] inline bool decode(Bytes bytes, Message& message, Bytes& payload) noexcept {
  if (bytes.size() < sizeof message) return false;
  std::memcpy(&message, bytes.data(), sizeof message);
  payload = bytes.sub(sizeof message);
  return true;
}

}  // namespace mitosis::pool
