// SPDX-License-Identifier: MIT
// Frame: what a message travels in: a fixed header, then the message's fields. World: both.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/net/wire/codec.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::wire {

inline constexpr std::uint32_t frame_magic = 0x3154494du;  ///< "MIT1"
inline constexpr std::uint16_t frame_version = 1;
inline constexpr std::uint32_t frame_header_bytes = 32;
/// The longest payload that any protocol allows: a read of 2 MiB and room for its fields.
inline constexpr std::uint32_t max_frame_payload = (std::uint32_t{2} << 20) + 4096;

/// The header's fields, in wire order after magic and version.
struct FrameHeader {
  std::uint16_t type = 0;
  std::uint64_t request = 0;      ///< names the request; its replies carry it too
  std::uint32_t length = 0;       ///< of the payload, in bytes
  std::uint32_t patience_ms = 0;  ///< how long the sender will wait for the reply
  std::uint64_t reserved = 0;

  template <class A>
  void fields(A& a) {
    a(type, request, length, patience_ms, reserved);
  }
};

/// A received message that is still encoded.
struct Frame {
  FrameHeader header;
  std::vector<std::uint8_t> payload;

  [[nodiscard]] Bytes bytes() const noexcept { return Bytes(payload.data(), payload.size()); }
  template <Message M>
  [[nodiscard]] bool is() const noexcept {
    return header.type == type_number<M>;
  }
  /// The message; bad_message where the frame holds another type.
  template <Message M>
  [[nodiscard]] Result<M> as() const {
    if (!is<M>()) return Error(Errc::bad_message, "a message of another type was expected");
    return decode<M>(bytes());
  }
};

/// Header and payload, ready to be sent.
[[nodiscard]] inline std::vector<std::uint8_t> make_frame(FrameHeader header, Bytes payload) {
  header.length = static_cast<std::uint32_t>(payload.size());
  Encoder encoder;
  encoder(frame_magic, frame_version);
  header.fields(encoder);
  std::vector<std::uint8_t> frame = std::move(encoder).bytes();
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}
template <Message M>
[[nodiscard]] std::vector<std::uint8_t> make_frame(const M& message, FrameHeader header = {}) {
  header.type = type_number<M>;
  const std::vector<std::uint8_t> payload = encode(message);
  return make_frame(header, Bytes(payload.data(), payload.size()));
}

/// Parses exactly `frame_header_bytes` bytes. protocol_mismatch: another version; bad_message: not
/// a frame, or a payload over `max_payload`.
[[nodiscard]] inline Result<FrameHeader> parse_frame_header(
    Bytes bytes, std::uint32_t max_payload = max_frame_payload) {
  std::uint32_t magic = 0;
  std::uint16_t version = 0;
  FrameHeader header;
  Decoder decoder(bytes);
  decoder(magic, version);
  header.fields(decoder);
  if (!decoder.finished() || magic != frame_magic) {
    return Error(Errc::bad_message, "not a frame of this protocol");
  }
  if (version != frame_version) return Error(Errc::protocol_mismatch, "frame version");
  if (header.length > max_payload) return Error(Errc::bad_message, "a frame's length is too large");
  return header;
}

}  // namespace mitosis::wire
