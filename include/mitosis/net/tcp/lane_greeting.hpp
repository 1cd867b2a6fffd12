// SPDX-License-Identifier: MIT
// LaneGreeting: the handshake of a read lane, on a socket that does not block. World: user.
#pragma once

#include <sys/socket.h>

#include <mitosis/net/auth/client_handshake.hpp>
#include <mitosis/net/endpoint_pool.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace mitosis::tcp {

/// Send `start()`, then call `receive` each time the socket is readable until it says done. After
/// an error the connection must be dropped.
class LaneGreeting {
 public:
  LaneGreeting(const auth::Identity& self, Destination to)
      : handshake_(
            self, to.peer,
            to.lane == Lane::demand ? auth::Purpose::demand_reads : auth::Purpose::bulk_reads) {}

  [[nodiscard]] std::vector<std::uint8_t> start() const { return handshake_.start(); }

  /// Takes what there is. Nothing else may come before the handshake's end.
  [[nodiscard]] Result<auth::ClientHandshake::Step> receive(int fd) {
    auth::ClientHandshake::Step all;
    std::uint8_t raw[512];
    const ssize_t got = ::recv(fd, raw, sizeof(raw), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return all;
    if (got <= 0) return Error(Errc::connection_lost, "in the handshake", got < 0 ? errno : 0);
    received_.insert(received_.end(), raw, raw + got);
    while (!all.done && received_.size() >= wire::frame_header_bytes) {
      const Bytes bytes(received_.data(), received_.size());
      const Result<wire::FrameHeader> header = wire::parse_frame_header(
          bytes.sub(0, wire::frame_header_bytes), auth::max_handshake_payload);
      if (!header.ok()) return header.error();
      const std::size_t whole = wire::frame_header_bytes + header->length;
      if (received_.size() < whole) break;
      const Bytes payload = bytes.sub(wire::frame_header_bytes, header->length);
      const wire::Frame frame{*header, {payload.begin(), payload.end()}};
      received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(whole));
      Result<auth::ClientHandshake::Step> step = handshake_.on_frame(frame);
      if (!step.ok()) return step.error();
      all.send.insert(all.send.end(), step->send.begin(), step->send.end());
      all.done = step->done;
    }
    if (all.done && !received_.empty()) return Error(Errc::bad_message, "bytes ahead of time");
    return all;
  }

 private:
  auth::ClientHandshake handshake_;
  std::vector<std::uint8_t> received_;
};

}  // namespace mitosis::tcp
