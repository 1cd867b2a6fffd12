// SPDX-License-Identifier: MIT
// The socket options that come along: socket(7), ip(7), ipv6(7), tcp(7), unix(7). World: user.
// Not among them: multicast memberships and BPF filters, which cannot be asked for, and what takes
// a privilege (SO_MARK, IP_TRANSPARENT, SO_BINDTODEVICE).
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <mitosis/fork/user/files/sockets.hpp>

#include <cstdint>
#include <optional>

namespace mitosis::files {

enum class OptionShape : std::uint8_t {
  number,
  linger,
  time,
  buffer,  ///< reads as twice what was set; carried only where the program has set it
};

/// The id is the place in the table: append only. What has its usual value is not carried, so that
/// a child follows its own machine's defaults.
struct OptionKind {
  int level, name;
  OptionShape shape;
  std::int64_t usual;
};
inline constexpr OptionKind option_kinds[] = {
    {SOL_SOCKET, SO_REUSEADDR, OptionShape::number, 0},
    {SOL_SOCKET, SO_REUSEPORT, OptionShape::number, 0},
    {SOL_SOCKET, SO_KEEPALIVE, OptionShape::number, 0},
    {SOL_SOCKET, SO_BROADCAST, OptionShape::number, 0},
    {SOL_SOCKET, SO_OOBINLINE, OptionShape::number, 0},
    {SOL_SOCKET, SO_DONTROUTE, OptionShape::number, 0},
    {SOL_SOCKET, SO_PASSCRED, OptionShape::number, 0},
    {SOL_SOCKET, SO_TIMESTAMP, OptionShape::number, 0},
    {SOL_SOCKET, SO_PRIORITY, OptionShape::number, 0},
    {SOL_SOCKET, SO_RCVLOWAT, OptionShape::number, 1},
    {SOL_SOCKET, SO_LINGER, OptionShape::linger, 0},
    {SOL_SOCKET, SO_RCVTIMEO, OptionShape::time, 0},
    {SOL_SOCKET, SO_SNDTIMEO, OptionShape::time, 0},
    {SOL_SOCKET, SO_SNDBUF, OptionShape::buffer, 0},
    {SOL_SOCKET, SO_RCVBUF, OptionShape::buffer, 0},
    {IPPROTO_IP, IP_TOS, OptionShape::number, 0},
    {IPPROTO_IP, IP_TTL, OptionShape::number, 64},
    {IPPROTO_IP, IP_FREEBIND, OptionShape::number, 0},
    {IPPROTO_IP, IP_PKTINFO, OptionShape::number, 0},
    {IPPROTO_IP, IP_RECVERR, OptionShape::number, 0},
    {IPPROTO_IP, IP_MULTICAST_TTL, OptionShape::number, 1},
    {IPPROTO_IP, IP_MULTICAST_LOOP, OptionShape::number, 1},
    {IPPROTO_IPV6, IPV6_V6ONLY, OptionShape::number, 0},
    {IPPROTO_IPV6, IPV6_RECVPKTINFO, OptionShape::number, 0},
    {IPPROTO_IPV6, IPV6_RECVERR, OptionShape::number, 0},
    {IPPROTO_IPV6, IPV6_TCLASS, OptionShape::number, 0},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, OptionShape::number, 64},
    {IPPROTO_TCP, TCP_NODELAY, OptionShape::number, 0},
    {IPPROTO_TCP, TCP_CORK, OptionShape::number, 0},
    {IPPROTO_TCP, TCP_KEEPIDLE, OptionShape::number, 7200},
    {IPPROTO_TCP, TCP_KEEPINTVL, OptionShape::number, 75},
    {IPPROTO_TCP, TCP_KEEPCNT, OptionShape::number, 9},
    {IPPROTO_TCP, TCP_DEFER_ACCEPT, OptionShape::number, 0},
    {IPPROTO_TCP, TCP_USER_TIMEOUT, OptionShape::number, 0},
    {IPPROTO_TCP, TCP_FASTOPEN, OptionShape::number, 0},
};
inline constexpr std::uint16_t option_count = sizeof option_kinds / sizeof *option_kinds;

/// Whether a socket can have it at all: others' levels are not even asked.
constexpr bool applies(const OptionKind& kind, int family, int protocol) noexcept {
  if (kind.level == SOL_SOCKET) return kind.name != SO_PASSCRED || family == AF_UNIX;
  if (kind.level == IPPROTO_IP) {
    const bool multicast = kind.name == IP_MULTICAST_TTL || kind.name == IP_MULTICAST_LOOP;
    return family == AF_INET && (!multicast || protocol == IPPROTO_UDP);
  }
  if (kind.level == IPPROTO_IPV6) return family == AF_INET6;
  return protocol == IPPROTO_TCP && family != AF_UNIX;
}

/// Linux 5.14's; bit 0: the program has set SO_SNDBUF, bit 1: SO_RCVBUF.
inline constexpr int so_buf_lock = 72;

/// The option's value where the socket has one that is not the usual.
inline std::optional<SocketOption> get_option(int socket, std::uint16_t id) noexcept {
  const OptionKind& kind = option_kinds[id];
  SocketOption got = {id, 0, 0};
  socklen_t bytes = 0;
  if (kind.shape == OptionShape::linger) {
    struct linger value = {};
    bytes = sizeof value;
    if (::getsockopt(socket, kind.level, kind.name, &value, &bytes) != 0) return std::nullopt;
    got.a = value.l_onoff;
    got.b = value.l_linger;
    if (got.a == 0) return std::nullopt;
    return got;
  }
  if (kind.shape == OptionShape::time) {
    timeval value = {};
    bytes = sizeof value;
    if (::getsockopt(socket, kind.level, kind.name, &value, &bytes) != 0) return std::nullopt;
    got.a = value.tv_sec;
    got.b = value.tv_usec;
    if (got.a == 0 && got.b == 0) return std::nullopt;
    return got;
  }
  int value = 0;
  bytes = sizeof value;
  if (::getsockopt(socket, kind.level, kind.name, &value, &bytes) != 0) return std::nullopt;
  if (kind.shape == OptionShape::buffer) {
    int locked = 0;
    bytes = sizeof locked;
    (void)::getsockopt(socket, SOL_SOCKET, so_buf_lock, &locked, &bytes);
    if ((locked & (kind.name == SO_SNDBUF ? 1 : 2)) == 0) return std::nullopt;
    value /= 2;
  }
  got.a = value;
  if (got.a == kind.usual) return std::nullopt;
  return got;
}

/// False with errno where the kernel refuses it. A buffer may come out smaller: the machine's
/// limit.
inline bool set_option(int socket, const SocketOption& option) noexcept {
  const OptionKind& kind = option_kinds[option.id];
  if (kind.shape == OptionShape::linger) {
    const struct linger value = {static_cast<int>(option.a), static_cast<int>(option.b)};
    return ::setsockopt(socket, kind.level, kind.name, &value, sizeof value) == 0;
  }
  if (kind.shape == OptionShape::time) {
    const timeval value = {option.a, option.b};
    return ::setsockopt(socket, kind.level, kind.name, &value, sizeof value) == 0;
  }
  const int value = static_cast<int>(option.a);
  return ::setsockopt(socket, kind.level, kind.name, &value, sizeof value) == 0;
}

}  // namespace mitosis::files
