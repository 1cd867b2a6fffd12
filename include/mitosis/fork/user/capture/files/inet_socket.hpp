// SPDX-License-Identifier: MIT
// read_inet_socket(): TCP and UDP. World: user.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <mitosis/fork/user/capture/files/async.hpp>
#include <mitosis/fork/user/capture/files/socket_common.hpp>
#include <mitosis/fork/user/files/payload.hpp>

namespace mitosis::capture {

namespace detail {

/// Of getsockname or getpeername; empty where there is none, or no port.
template <class Ask>
std::vector<std::uint8_t> inet_address(Ask ask, int socket) {
  sockaddr_storage address = {};
  socklen_t bytes = sizeof address;
  if (ask(socket, reinterpret_cast<sockaddr*>(&address), &bytes) != 0) return {};
  in_port_t port = 0;  // at the same place in both families
  std::memcpy(&port, reinterpret_cast<const char*>(&address) + offsetof(sockaddr_in, sin_port),
              sizeof port);
  if (port == 0) return {};
  const auto* first = reinterpret_cast<const std::uint8_t*>(&address);
  return {first, first + std::min<std::size_t>(bytes, sizeof address)};
}

inline Result<void> read_tcp_state(const OpenFile& file, int socket, files::InetSocket& seen) {
  tcp_info info = {};
  socklen_t bytes = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) {
    return refuse_file(file, "a TCP socket whose state cannot be read");
  }
  if (info.tcpi_state == TCP_LISTEN) {
    seen.role = files::SocketRole::listener;
    seen.backlog = static_cast<std::int32_t>(info.tcpi_sacked);  // its other meaning: tcp_get_info
  } else if (info.tcpi_state != TCP_CLOSE) {
    seen.role = files::SocketRole::dead;
  }
  return {};
}

}  // namespace detail

/// `socket` is a duplicate. A connection to somebody else is his and the parent's: a child finds it
/// closed. Datagrams that wait are the parent's, too.
inline Result<void> read_inet_socket(const Target& target, OpenFile& file, int socket, int family) {
  files::InetSocket seen;
  seen.family = family;
  seen.type = get_number(socket, SOL_SOCKET, SO_TYPE);
  seen.protocol = get_number(socket, SOL_SOCKET, SO_PROTOCOL);
  const bool tcp = seen.type == SOCK_STREAM && seen.protocol == IPPROTO_TCP;
  const bool udp = seen.type == SOCK_DGRAM && seen.protocol == IPPROTO_UDP;
  if (!tcp && !udp) return refuse_file(file, "an internet socket that is neither TCP nor UDP");
  seen.options = read_options(socket, family, seen.protocol);
  Result<files::Async> async = read_async(target, file, socket);
  if (!async) return async.error();
  seen.async = *async;
  seen.local = detail::inet_address(::getsockname, socket);
  if (tcp) {
    if (Result<void> ok = detail::read_tcp_state(file, socket, seen); !ok) return ok;
  } else {
    seen.peer = detail::inet_address(::getpeername, socket);
    if (!seen.peer.empty()) seen.role = files::SocketRole::datagram;
  }
  file.kind = descriptor::FileKind::inet_socket;
  file.path.clear();
  file.data = files::encode(seen);
  return {};
}

}  // namespace mitosis::capture
