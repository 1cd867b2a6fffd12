// SPDX-License-Identifier: MIT
// Local packets: a message's type and protocol version, then its fields. World: user.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/local/basic.hpp>
#include <mitosis/fork/user/local/type.hpp>
#include <mitosis/net/wire/codec.hpp>

#include <concepts>
#include <cstdint>
#include <vector>

namespace mitosis::local {

/// Raised when a packet changes its meaning: a library and an agent of different versions refuse
/// each other by name.
inline constexpr std::uint16_t protocol_version = 4;
/// Type and version, both 16 bits, little-endian.
inline constexpr std::size_t packet_header_bytes = 4;

template <class M>
concept LocalMessage =
    wire::Message<M> && std::same_as<std::remove_cv_t<decltype(M::type)>, LocalType>;

/// The message's packet. The same message always gives the same bytes, so that the restorer, which
/// has no codec, may send and compare prepared ones.
template <LocalMessage M>
[[nodiscard]] std::vector<std::uint8_t> encode_packet(const M& message) {
  wire::Encoder encoder;
  encoder(M::type, protocol_version);
  const_cast<M&>(message).fields(encoder);  // an Encoder only reads
  return std::move(encoder).bytes();
}

/// What the packet holds; unknown types come out as they are, for a switch's default.
inline Result<LocalType> packet_type(Bytes packet) noexcept {
  if (packet.size() < packet_header_bytes) return Error(Errc::bad_message, "a local packet");
  const auto word = [&](std::size_t at) {
    return static_cast<std::uint16_t>(packet[at] | packet[at + 1] << 8);
  };
  if (word(2) != protocol_version) {
    return Error(Errc::protocol_mismatch, "the local agent and this library").in("local packet");
  }
  return static_cast<LocalType>(word(0));
}

/// The message of a packet whose type is M's, or bad_message.
template <LocalMessage M>
[[nodiscard]] Result<M> decode_packet(Bytes packet) {
  const Result<LocalType> type = packet_type(packet);
  if (!type) return type.error();
  if (*type != M::type) return Error(Errc::bad_message, "a local packet of another type");
  return wire::decode<M>(packet.sub(packet_header_bytes));
}

/// Whether a packet is a Failed.
inline bool is_failure(Bytes packet) noexcept {
  const Result<LocalType> type = packet_type(packet);
  return type && *type == LocalType::failed;
}

/// What a request is answered with: an M, or the Error of a Failed.
template <LocalMessage M>
[[nodiscard]] Result<M> decode_reply(Bytes packet) {
  if (is_failure(packet)) {
    Result<Failed> failed = decode_packet<Failed>(packet);
    if (!failed) return failed.error();
    // A failure without a code must not pass for success.
    if (failed->error.code == Errc::ok) failed->error.code = Errc::bad_message;
    return failed->error;
  }
  return decode_packet<M>(packet);
}

}  // namespace mitosis::local
