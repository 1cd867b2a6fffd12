// SPDX-License-Identifier: MIT
// The floor of bulk reads, first part: how long TCP takes to stream so many bytes from one process
// to another. World: user.
#pragma once

#include <floors/connection.hpp>
#include <harness/clock.hpp>
#include <harness/forked.hpp>
#include <harness/memory.hpp>

#include <algorithm>
#include <optional>

namespace bench {

/// Nanoseconds from the request to the last byte. The sender sends from touched memory of that
/// size, as a page server does; the receiver reuses a buffer of `chunk` bytes that stays in its
/// CPU cache, which is the best that a receiver can do.
inline std::optional<double> tcp_stream_ns(std::size_t bytes, const Link& link = {},
                                           std::size_t chunk = mib / 4) {
  std::optional<Connection> tcp = connect_tcp(link);
  if (!tcp) return std::nullopt;
  const Forked sender([&] {
    tcp->client.reset();
    const Memory source(bytes);
    if (!source.ok()) return 1;
    source.touch();
    std::uint8_t byte = 0;
    // One byte to tell that memory is touched, one to be asked.
    if (!send_all(tcp->server.get(), &byte, 1) || !receive_all(tcp->server.get(), &byte, 1)) {
      return 1;
    }
    for (std::size_t at = 0; at < bytes; at += chunk) {
      const std::size_t part = std::min(chunk, bytes - at);
      if (!send_all(tcp->server.get(), source.data() + at, part)) return 1;
    }
    return 0;
  });
  tcp->server.reset();
  const Memory into(chunk);
  std::uint8_t byte = 0;
  if (!sender.ok() || !into.ok() || !receive_all(tcp->client.get(), &byte, 1)) return std::nullopt;
  into.touch();
  const std::int64_t start = now_ns();
  if (!send_all(tcp->client.get(), &byte, 1)) return std::nullopt;
  for (std::size_t left = bytes; left > 0;) {
    const ssize_t n = ::recv(tcp->client.get(), into.data(), std::min(left, chunk), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return std::nullopt;
    left -= static_cast<std::size_t>(n);
  }
  return static_cast<double>(now_ns() - start);
}

}  // namespace bench
