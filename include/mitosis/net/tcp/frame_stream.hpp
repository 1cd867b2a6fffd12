// SPDX-License-Identifier: MIT
// FrameStream: whole frames over a stream socket, blocking with a deadline. World: user.
// Handshakes and RPC sessions use it; read lanes have a leaner format of their own.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <cerrno>
#include <cstdint>
#include <vector>

namespace mitosis::tcp {

/// Sends and receives frames on a socket that it does not own. One thread uses it at a time;
/// another may end its waits with shutdown(2). After any error but an idle time-out the stream's
/// position is unknown, and the connection must be dropped.
class FrameStream {
 public:
  explicit FrameStream(int fd) noexcept : fd_(fd) {}

  /// Sends all of it. connection_lost, or timed_out at the deadline.
  [[nodiscard]] Result<void> send(Bytes bytes, Time deadline) noexcept {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent > 0) {
        bytes = bytes.sub(static_cast<std::size_t>(sent));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (Result<void> ready = wait(POLLOUT, deadline); !ready.ok()) return ready;
      } else if (errno != EINTR) {
        return Error(Errc::connection_lost, "send", errno);
      }
    }
    return {};
  }
  [[nodiscard]] Result<void> send(const std::vector<std::uint8_t>& bytes, Time deadline) noexcept {
    return send(Bytes(bytes.data(), bytes.size()), deadline);
  }

  /// The next frame. connection_lost: the peer closed. timed_out: the deadline passed; `idle()`
  /// tells whether not a byte of a frame had come. bad_message and protocol_mismatch as
  /// parse_frame_header; a payload's memory is taken only as its bytes arrive.
  [[nodiscard]] Result<wire::Frame> receive(std::uint32_t max_payload, Time deadline) {
    std::uint8_t raw[wire::frame_header_bytes];
    idle_ = true;
    if (Result<void> got = receive_all(MutableBytes(raw), deadline); !got.ok()) return got.error();
    Result<wire::FrameHeader> header = wire::parse_frame_header(Bytes(raw), max_payload);
    if (!header.ok()) return header.error();
    wire::Frame frame{*header, {}};
    while (frame.payload.size() < header->length) {
      constexpr std::size_t step = std::size_t{256} * 1024;
      const std::size_t at = frame.payload.size();
      const std::size_t left = header->length - at;
      frame.payload.resize(at + (left < step ? left : step));
      const MutableBytes part(frame.payload.data() + at, frame.payload.size() - at);
      if (Result<void> got = receive_all(part, deadline); !got.ok()) return got.error();
    }
    return frame;
  }
  /// Whether the last `receive` failed before the first byte of a frame.
  [[nodiscard]] bool idle() const noexcept { return idle_; }

 private:
  Result<void> receive_all(MutableBytes into, Time deadline) noexcept {
    while (!into.empty()) {
      const ssize_t got = ::recv(fd_, into.data(), into.size(), MSG_DONTWAIT);
      if (got > 0) {
        idle_ = false;
        into = into.sub(static_cast<std::size_t>(got));
      } else if (got == 0) {
        return Error(Errc::connection_lost, "the peer closed the connection");
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        if (Result<void> ready = wait(POLLIN, deadline); !ready.ok()) return ready;
      } else if (errno != EINTR) {
        return Error(Errc::connection_lost, "recv", errno);
      }
    }
    return {};
  }
  Result<void> wait(short events, Time deadline) noexcept {
    for (;;) {
      const Time now = monotonic_now();
      if (now >= deadline) return Error(Errc::timed_out);
      pollfd waiting{fd_, events, 0};
      const int ready = ::poll(&waiting, 1, timeout_ms(deadline, now));
      if (ready > 0) return {};
      if (ready < 0 && errno != EINTR) return Error(Errc::system_call_failed, "poll", errno);
    }
  }

  int fd_;
  bool idle_ = true;
};

}  // namespace mitosis::tcp
