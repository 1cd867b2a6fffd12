// SPDX-License-Identifier: MIT
// Connection: a connected TCP pair between two processes, either over loopback or over a link
// between two network namespaces. World: user.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace bench {

using mitosis::UniqueFd;

/// Both ends; made in one process, which hands one to a Forked.
struct Connection {
  UniqueFd client;
  UniqueFd server;
};

/// Two namespaces' descriptors and the server's address there; -1: the caller's own namespace.
struct Link {
  int client_network = -1;
  int server_network = -1;
  std::uint32_t server_address = INADDR_LOOPBACK;  ///< host byte order
};

namespace detail {
/// A TCP socket of that namespace: a socket stays in the namespace that it was made in.
inline UniqueFd tcp_socket(int network) {
  const UniqueFd home(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (network >= 0 && ::setns(network, CLONE_NEWNET) != 0) return {};
  UniqueFd made(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (network >= 0 && ::setns(home.get(), CLONE_NEWNET) != 0) return {};
  return made;
}
}  // namespace detail

/// Nothing where the link is down. TCP_NODELAY is set on both ends.
inline std::optional<Connection> connect_tcp(const Link& link = {}) {
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(link.server_address);
  auto* generic = reinterpret_cast<sockaddr*>(&at);
  socklen_t length = sizeof at;
  const UniqueFd listening = detail::tcp_socket(link.server_network);
  Connection made{detail::tcp_socket(link.client_network), {}};
  if (!listening || !made.client || ::bind(listening.get(), generic, length) != 0 ||
      ::listen(listening.get(), 1) != 0 || ::getsockname(listening.get(), generic, &length) != 0 ||
      ::connect(made.client.get(), generic, length) != 0) {
    return std::nullopt;
  }
  made.server = UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
  const int on = 1;
  for (const int fd : {made.client.get(), made.server.get()}) {
    if (::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) return std::nullopt;
  }
  return made;
}

/// All of it, or false.
inline bool send_all(int fd, const std::uint8_t* data, std::size_t bytes) noexcept {
  while (bytes > 0) {
    const ssize_t n = ::send(fd, data, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}
inline bool receive_all(int fd, std::uint8_t* data, std::size_t bytes) noexcept {
  while (bytes > 0) {
    const ssize_t n = ::recv(fd, data, bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace bench
