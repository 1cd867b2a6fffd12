// SPDX-License-Identifier: MIT
// FrameBuffer: takes frames out of bytes that are all there. World: user.
#pragma once

#include <mitosis/net/fabric.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <cstdint>

namespace mitosis::verbs {

/// The same interface as a stream of frames; the bytes are borrowed.
class FrameBuffer {
 public:
  explicit FrameBuffer(Bytes bytes) noexcept : left_(bytes) {}

  /// bad_message where no whole frame is left, or as parse_frame_header.
  [[nodiscard]] Result<wire::Frame> receive(std::uint32_t max_payload, Time = Time::never) {
    if (left_.size() < wire::frame_header_bytes) return cut();
    const Result<wire::FrameHeader> header =
        wire::parse_frame_header(left_.sub(0, wire::frame_header_bytes), max_payload);
    if (!header.ok()) return header.error();
    left_ = left_.sub(wire::frame_header_bytes);
    if (header->length > left_.size()) return cut();
    const Bytes payload = left_.sub(0, header->length);
    left_ = left_.sub(header->length);
    return wire::Frame{*header, {payload.begin(), payload.end()}};
  }
  [[nodiscard]] bool empty() const noexcept { return left_.empty(); }

 private:
  static Error cut() { return Error(Errc::bad_message, "a message that ends within a frame"); }
  Bytes left_;
};

}  // namespace mitosis::verbs
