// SPDX-License-Identifier: MIT
// Sockets as the tcp fabric wants them: TCP_NODELAY, dead peers found. World: user.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/tcp/address.hpp>

#include <cerrno>

namespace mitosis::tcp {

/// An idle peer that is gone is noticed after about idle + interval * probes seconds, one that
/// does not acknowledge what it was sent after user_timeout_ms.
inline constexpr int keepalive_idle_s = 5;
inline constexpr int keepalive_interval_s = 2;
inline constexpr int keepalive_probes = 3;
inline constexpr int user_timeout_ms = 10'000;

/// Sets the options of a connected (or connecting) socket. They cannot fail on a TCP socket; on
/// another kind (tests use pairs) they are without effect.
inline void tune(int fd) noexcept {
  const auto set = [fd](int level, int option, int value) {
    static_cast<void>(::setsockopt(fd, level, option, &value, sizeof(value)));
  };
  set(IPPROTO_TCP, TCP_NODELAY, 1);
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s);
  set(IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s);
  set(IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
  set(IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms);
}

/// A listening socket; port 0 picks a free one, which `local_port` tells.
[[nodiscard]] inline Result<UniqueFd> listen_on(const Address& address) {
  const auto failed = [&address](const char* call) {
    const bool taken = errno == EADDRINUSE || errno == EADDRNOTAVAIL;
    const char* hint = taken ? " (choose another address or port, as by --listen)" : "";
    return Error(Errc::system_call_failed, (address.text() + ": " + call + hint).c_str(), errno)
        .in("listen");
  };
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed("socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd.get(), address.raw(), address.length) != 0) return failed("bind");
  if (::listen(fd.get(), 512) != 0) return failed("listen");
  return fd;
}

/// The port that a socket is bound to, 0 where it is none.
[[nodiscard]] inline std::uint16_t local_port(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return 0;
  if (storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

/// Starts a non-blocking connect. The socket becomes writable when it ends; then `connect_error`.
[[nodiscard]] inline Result<UniqueFd> start_connect(const Address& address) {
  UniqueFd fd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error(Errc::system_call_failed, "socket", errno).in("connect");
  tune(fd.get());
  if (::connect(fd.get(), address.raw(), address.length) != 0 && errno != EINPROGRESS) {
    return Error(Errc::machine_unreachable, address.text().c_str(), errno).in("connect");
  }
  return fd;
}

/// errno of a connect that ended, 0 where it succeeded.
[[nodiscard]] inline int connect_error(int fd) noexcept {
  int error = 0;
  socklen_t length = sizeof(error);
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

}  // namespace mitosis::tcp
