// SPDX-License-Identifier: MIT
// The floor of a fault, first part: a blocking round trip of 64 bytes one way and 4 KiB back, over
// TCP between two processes. World: user.
#pragma once

#include <floors/connection.hpp>
#include <harness/clock.hpp>
#include <harness/forked.hpp>
#include <harness/samples.hpp>

#include <optional>

namespace bench {

/// Nanoseconds, the median of so many rounds.
inline std::optional<double> tcp_round_trip_ns(int rounds, const Link& link = {}) {
  std::optional<Connection> tcp = connect_tcp(link);
  if (!tcp) return std::nullopt;
  const Forked server([&] {
    tcp->client.reset();
    std::uint8_t request[64];
    std::uint8_t reply[4096] = {};
    while (receive_all(tcp->server.get(), request, sizeof request)) {
      if (!send_all(tcp->server.get(), reply, sizeof reply)) return 1;
    }
    return 0;
  });
  tcp->server.reset();
  std::uint8_t request[64] = {};
  std::uint8_t reply[4096];
  Samples samples;
  for (int i = 0; i < rounds; ++i) {
    const std::int64_t start = now_ns();
    if (!send_all(tcp->client.get(), request, sizeof request) ||
        !receive_all(tcp->client.get(), reply, sizeof reply)) {
      return std::nullopt;
    }
    samples.add(static_cast<double>(now_ns() - start));
  }
  return samples.median();
}

}  // namespace bench
