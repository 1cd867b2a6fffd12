// SPDX-License-Identifier: MIT
// Wire: the agents' frames on a connection of the shim's. World: kernel.
// The messages are those of net/auth and net/rpc, read and written by the same lists of fields;
// here they have fixed room. Results are the shim's: 0, or an error below zero, after which nothing
// more is to be said on the connection, unless `refused` says that the peer has refused.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/base/text.hpp>
#include <mitosis/fork/kernel/errno.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/wire/bounded_writer.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <cstdint>

namespace mitosis::kernel {

using FixedEncoder = wire::BasicEncoder<wire::BoundedWriter>;

/// A message that is not a block of bytes has no more.
inline constexpr std::uint32_t max_small_message = 1024;

/// Borrows the connection. One thread at a time.
class Wire {
 public:
  explicit Wire(mitosis_socket* socket) noexcept : socket_(socket) {}

  template <class M>
  int send(const M& message, std::uint64_t request = 0) noexcept {
    std::uint8_t bytes[wire::frame_header_bytes + 512];
    FixedEncoder body(MutableBytes(bytes).sub(wire::frame_header_bytes));
    const_cast<M&>(message).fields(body);  // an encoder only reads
    const std::size_t length = std::move(body).bytes().size();
    write_header<M>(bytes, request, static_cast<std::uint32_t>(length));
    return mitosis_shim_send(socket_, bytes, wire::frame_header_bytes + length);
  }
  /// The header of a frame whose payload the caller sends.
  template <class M>
  int send_header(std::uint64_t request, std::uint32_t length) noexcept {
    std::uint8_t bytes[wire::frame_header_bytes];
    write_header<M>(bytes, request, length);
    return mitosis_shim_send(socket_, bytes, sizeof bytes);
  }
  int send_bytes(const void* bytes, std::size_t count) noexcept {
    return mitosis_shim_send(socket_, bytes, count);
  }

  /// The next frame's header; its payload is still to be received.
  int receive_header(wire::FrameHeader& header, std::uint32_t max_payload) noexcept {
    std::uint8_t bytes[wire::frame_header_bytes];
    const int error = receive_bytes(bytes, sizeof bytes);
    if (error != 0) return error;
    const auto parsed = wire::parse_frame_header(Bytes(bytes), max_payload);
    if (!parsed) return errno_of(parsed.code());
    header = *parsed;
    return 0;
  }
  int receive_bytes(void* into, std::size_t count) noexcept {
    return mitosis_shim_receive(socket_, into, count);
  }
  /// A whole frame that must be M, or the peer's refusal.
  template <class M>
  int receive(M& message, std::uint64_t request = 0) noexcept {
    std::uint8_t bytes[max_small_message];
    wire::FrameHeader header;
    int error = receive_header(header, sizeof bytes);
    if (error == 0) error = receive_bytes(bytes, header.length);
    if (error != 0) return error;
    if (header.request != request) return -errno_protocol;
    const Bytes payload(bytes, header.length);
    if (header.type == static_cast<std::uint16_t>(ErrorReply::type)) return refusal(payload);
    if (header.type != static_cast<std::uint16_t>(M::type)) return -errno_protocol;
    return decode(payload, message) ? 0 : -errno_protocol;
  }
  /// Whether the last error was the peer's word: the connection goes on.
  [[nodiscard]] bool refused() const noexcept { return refused_; }

  template <class M>
  static bool decode(Bytes payload, M& message) noexcept {
    wire::Decoder decoder(payload);
    message.fields(decoder);
    return decoder.finished();
  }
  /// The error that an ErrorReply carries, which the log gets in words.
  int refusal(Bytes payload) noexcept {
    ErrorReply reply;
    if (!decode(payload, reply) || reply.error.code == Errc::ok) return -errno_protocol;
    Text<255> said(words(reply.error.code));
    if (!reply.error.subject.empty()) said.append(": ").append(reply.error.subject.c_str());
    mitosis_shim_say(said.c_str());
    refused_ = true;
    return errno_of(reply.error.code);
  }

 private:
  template <class M>
  static void write_header(std::uint8_t* into, std::uint64_t request,
                           std::uint32_t length) noexcept {
    wire::FrameHeader header;
    header.type = static_cast<std::uint16_t>(M::type);
    header.request = request;
    header.length = length;
    header.patience_ms = 3000;  // of a call; a reply has none
    FixedEncoder head(MutableBytes(into, wire::frame_header_bytes));
    head(wire::frame_magic, wire::frame_version);
    header.fields(head);
  }

  mitosis_socket* socket_;
  bool refused_ = false;
};

}  // namespace mitosis::kernel
