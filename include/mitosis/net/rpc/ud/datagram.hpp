// SPDX-License-Identifier: MIT
// Datagram: the header of every packet of a call over datagrams, and its seal. World: user; no I/O.
// A packet comes from anybody who can reach the queue pair: but for those of a handshake each is
// sealed by a key that only the two ends of its session can know, and dropped where it is not.
#pragma once

#include <sodium.h>

#include <mitosis/base/span.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/auth/secret.hpp>
#include <mitosis/net/wire/reader.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <vector>

namespace mitosis::rpc::ud {

/// Part of the wire protocol: append, never renumber. "->" is from the caller to the server.
enum class Kind : std::uint8_t {
  open = 1,  ///< -> a Hello; `call` names the handshake, `window` is the sender's datagram size
  challenge = 2,  ///< <- a Challenge; `session` names the session to be
  proof = 3,      ///< -> a Proof
  welcome = 4,    ///< <- a Proof, sealed; `total`: credits, `window`: the datagram size of both
  refused = 5,    ///< <- an ErrorReply instead
  request = 6,    ///< -> a piece; `window`: how many pieces of the reply may come unasked
  got = 7,       ///< <- what has come of the request: `piece` and `mask`; all: it is being executed
  pull = 8,      ///< -> more of the reply: pieces from `total` up to `piece` + `window`
  reply = 9,     ///< <- a piece
  close = 10,    ///< -> the session is not needed any more
  closed = 11,   ///< <- it is gone; unasked where the server stops
  unknown = 12,  ///< <- no such session here: unsealed, so no more than a hint
  last = unknown,
};

struct Header {
  Kind kind = Kind::open;
  std::uint32_t piece = 0;    ///< of the message; in `got` and `pull` the first one that is missing
  std::uint64_t session = 0;  ///< drawn by the server
  std::uint64_t call = 0;     ///< counts from 1 for each caller
  std::uint32_t total = 0;    ///< bytes of the whole message
  std::uint32_t window = 0;   ///< pieces
  std::uint64_t mask = 0;     ///< bit i: piece `piece` + 1 + i has come
};

inline constexpr std::size_t header_bytes = 48;
inline constexpr std::size_t seal_offset = 40;
/// What a port must carry at least: an error in words fits.
inline constexpr std::uint32_t min_datagram = 512;
inline constexpr std::uint32_t max_datagram = 4096;

/// Seals the packets of one session: SipHash-2-4 under a key that both ends derive from the
/// cluster's secret and the two proofs of the handshake.
class Seal {
 public:
  Seal() = default;
  Seal(const auth::Secret& secret, const auth::Mac& client, const auth::Mac& server) noexcept {
    std::array<std::uint8_t, 16 + 2 * sizeof(auth::Mac)> transcript{};
    std::memcpy(transcript.data(), "ud session key", 14);
    std::memcpy(transcript.data() + 16, client.data(), client.size());
    std::memcpy(transcript.data() + 16 + client.size(), server.data(), server.size());
    std::uint8_t mac[auth::Secret::mac_bytes];
    secret.mac(Bytes(transcript.data(), transcript.size()), mac);
    std::memcpy(key_, mac, sizeof key_);
    sodium_memzero(mac, sizeof mac);
  }
  /// Writes the seal of a whole datagram into its place.
  void put(MutableBytes datagram) const noexcept {
    std::memset(datagram.data() + seal_offset, 0, crypto_shorthash_BYTES);
    std::uint8_t seal[crypto_shorthash_BYTES];
    crypto_shorthash(seal, datagram.data(), datagram.size(), key_);
    std::memcpy(datagram.data() + seal_offset, seal, sizeof seal);
  }
  /// Whether it is there; leaves the datagram as it is.
  [[nodiscard]] bool fits(Bytes datagram) const noexcept {
    if (datagram.size() < header_bytes || datagram.size() > max_datagram) return false;
    std::uint8_t copy[max_datagram];
    std::memcpy(copy, datagram.data(), datagram.size());
    put(MutableBytes(copy, datagram.size()));
    return sodium_memcmp(copy + seal_offset, datagram.data() + seal_offset,
                         crypto_shorthash_BYTES) == 0;
  }

 private:
  static_assert(crypto_shorthash_KEYBYTES <= auth::Secret::mac_bytes);
  std::uint8_t key_[crypto_shorthash_KEYBYTES] = {};
};

namespace detail {
inline constexpr std::uint16_t magic = 0x4d55;  ///< "UM"
inline constexpr std::uint8_t version = 1;

template <class T>
void store(std::uint8_t* at, T value) noexcept {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    at[i] = static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
}
}  // namespace detail

/// A datagram without its seal.
[[nodiscard]] inline std::vector<std::uint8_t> make_datagram(const Header& header,
                                                             Bytes payload = {}) {
  std::vector<std::uint8_t> bytes(header_bytes + payload.size());
  std::uint8_t* const at = bytes.data();
  detail::store(at, detail::magic);
  detail::store(at + 2, detail::version);
  detail::store(at + 3, static_cast<std::uint8_t>(header.kind));
  detail::store(at + 4, header.piece);
  detail::store(at + 8, header.session);
  detail::store(at + 16, header.call);
  detail::store(at + 24, header.total);
  detail::store(at + 28, header.window);
  detail::store(at + 32, header.mask);
  if (!payload.empty()) std::memcpy(at + header_bytes, payload.data(), payload.size());
  return bytes;
}
[[nodiscard]] inline std::vector<std::uint8_t> make_datagram(const Header& header, Bytes payload,
                                                             const Seal& seal) {
  std::vector<std::uint8_t> bytes = make_datagram(header, payload);
  seal.put(MutableBytes(bytes.data(), bytes.size()));
  return bytes;
}

/// The header, or nothing where the bytes are none of this protocol. What follows is the payload.
[[nodiscard]] inline std::optional<Header> parse_datagram(Bytes bytes) noexcept {
  wire::Reader in(bytes);
  const auto magic = in.integer<std::uint16_t>();
  const auto version = in.integer<std::uint8_t>();
  const auto kind = in.integer<std::uint8_t>();
  Header header;
  header.kind = static_cast<Kind>(kind);
  header.piece = in.integer<std::uint32_t>();
  header.session = in.integer<std::uint64_t>();
  header.call = in.integer<std::uint64_t>();
  header.total = in.integer<std::uint32_t>();
  header.window = in.integer<std::uint32_t>();
  header.mask = in.integer<std::uint64_t>();
  static_cast<void>(in.integer<std::uint64_t>());  // the seal
  if (!in.ok() || magic != detail::magic || version != detail::version) return std::nullopt;
  if (kind == 0 || kind > static_cast<std::uint8_t>(Kind::last)) return std::nullopt;
  if (bytes.size() > max_datagram) return std::nullopt;
  return header;
}
[[nodiscard]] inline Bytes payload_of(Bytes datagram) noexcept {
  return datagram.sub(header_bytes);
}

}  // namespace mitosis::rpc::ud
