// SPDX-License-Identifier: MIT
// LaneServer: serves one read lane: receive, read, send, and nothing else. World: user.
// A child's fault waits for exactly this loop, so it allocates nothing and takes no lock itself.
#pragma once

#include <sys/socket.h>
#include <sys/time.h>

#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/tcp/lane_wire.hpp>
#include <mitosis/net/tcp/read_service.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::tcp {

/// How long the server looks for the next request before it sleeps. A wake-up costs about 5 us;
/// spinning for longer than a round trip would only take the core from who produces the request.
inline constexpr std::uint64_t lane_spin_ns = 0;
/// A client that takes no bytes, or leaves a record half sent, for so long is dropped.
inline constexpr std::uint64_t lane_stall_ms = 15'000;

/// One lane's buffers and loop; its thread is the only user. Does not own
/// the socket, which must be in blocking mode.
class LaneServer {
 public:
  LaneServer(int fd, ReadService& service)
      : fd_(fd), service_(&service), requests_(request_room), replies_(reply_room) {
    const timeval stall{lane_stall_ms / 1000, 0};
    static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)));
    static_cast<void>(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)));
  }

  /// Serves until the peer closes, breaks the format or stalls, or the socket is shut down.
  void run() noexcept {
    while (receive()) {
      if (!serve_all()) return;
    }
  }

 private:
  static constexpr std::size_t request_room = 1024 * sizeof(LaneRequest);
  static constexpr std::size_t reply_room = 2 * (max_part + sizeof(PartHeader));

  /// Waits for at least one whole request in the buffer. An idle lane may stay so for ever (TCP
  /// keepalive finds a dead peer); half a request may not.
  bool receive() noexcept {
    const Time spin_until = lane_spin_ns == 0 ? Time{0} : monotonic_now() + lane_spin_ns;
    bool spin = lane_spin_ns != 0;
    while (held_ < sizeof(LaneRequest)) {
      const ssize_t got =
          ::recv(fd_, requests_.data() + held_, requests_.size() - held_, spin ? MSG_DONTWAIT : 0);
      if (got > 0) {
        held_ += static_cast<std::size_t>(got);
      } else if (got == 0) {
        return false;
      } else if (errno == EAGAIN) {
        if (!spin && held_ > 0) return false;
        spin = spin && monotonic_now() < spin_until;
      } else if (errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  bool serve_all() noexcept {
    std::size_t at = 0;
    for (; held_ - at >= sizeof(LaneRequest); at += sizeof(LaneRequest)) {
      LaneRequest request;
      std::memcpy(&request, requests_.data() + at, sizeof(request));
      if (request.bytes == 0 || request.bytes > max_read) return false;
      if (!serve(request)) return false;
    }
    held_ -= at;
    if (held_ > 0) std::memmove(requests_.data(), requests_.data() + at, held_);
    return flush();
  }

  bool serve(const LaneRequest& request) noexcept {
    const TargetName target{request.target_number, request.target_key};
    for (std::uint32_t done = 0; done < request.bytes;) {
      PartHeader header{request.sequence, 0, part_bytes(request.bytes - done)};
      if (replies_.size() - filled_ < sizeof(header) + header.bytes && !flush()) return false;
      std::uint8_t* const out = replies_.data() + filled_;
      const Errc status = service_->read(target, request.address + done,
                                         MutableBytes(out + sizeof(header), header.bytes));
      if (status != Errc::ok) header.bytes = 0;
      header.status = static_cast<std::uint32_t>(status);
      std::memcpy(out, &header, sizeof(header));
      filled_ += sizeof(header) + header.bytes;
      if (status != Errc::ok) return true;
      done += header.bytes;
    }
    return true;
  }

  bool flush() noexcept {
    for (std::size_t at = 0; at < filled_;) {
      const ssize_t sent = ::send(fd_, replies_.data() + at, filled_ - at, MSG_NOSIGNAL);
      if (sent > 0) {
        at += static_cast<std::size_t>(sent);
      } else if (errno != EINTR) {  // EAGAIN: the peer took nothing for lane_stall_ms
        return false;
      }
    }
    filled_ = 0;
    return true;
  }

  int fd_;
  ReadService* service_;
  std::vector<std::uint8_t> requests_;
  std::vector<std::uint8_t> replies_;
  std::size_t held_ = 0;    ///< bytes in requests_
  std::size_t filled_ = 0;  ///< bytes in replies_
};

}  // namespace mitosis::tcp
