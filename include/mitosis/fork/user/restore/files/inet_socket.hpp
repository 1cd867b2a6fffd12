// SPDX-License-Identifier: MIT
// open_inet_socket(): TCP and UDP. World: user.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <mitosis/fork/user/restore/files/unix_socket.hpp>

#include <cstring>

namespace mitosis::restore {

namespace detail {

/// A payload's address, checked to be of its socket's family.
struct InetAddress {
  sockaddr_storage address = {};
  socklen_t bytes = 0;
  [[nodiscard]] const sockaddr* raw() const noexcept {
    return reinterpret_cast<const sockaddr*>(&address);
  }
  [[nodiscard]] sockaddr* raw() noexcept { return reinterpret_cast<sockaddr*>(&address); }
  [[nodiscard]] std::string text() const {
    char host[INET6_ADDRSTRLEN] = "?";
    in_port_t port = 0;
    std::memcpy(&port, reinterpret_cast<const char*>(&address) + offsetof(sockaddr_in, sin_port),
                sizeof port);
    const bool v4 = address.ss_family == AF_INET;
    const char* const first = reinterpret_cast<const char*>(&address);
    ::inet_ntop(address.ss_family,
                first + (v4 ? offsetof(sockaddr_in, sin_addr) : offsetof(sockaddr_in6, sin6_addr)),
                host, sizeof host);
    const std::string number = std::to_string(ntohs(port));
    return v4 ? std::string(host) + ":" + number : "[" + std::string(host) + "]:" + number;
  }
};
inline Result<InetAddress> inet_address(const descriptor::FileRecord& file,
                                        const files::InetSocket& of,
                                        const std::vector<std::uint8_t>& bytes) {
  InetAddress made;
  made.bytes = of.family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (bytes.size() != made.bytes) return bad_payload(file, "of an address of another family");
  std::memcpy(&made.address, bytes.data(), bytes.size());
  if (made.address.ss_family != of.family) {
    return bad_payload(file, "of an address of another family");
  }
  return made;
}

/// The wildcard address of the same port: a connected socket's own address was its machine's.
inline void forget_host(InetAddress& at) noexcept {
  if (at.address.ss_family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&at.address)->sin_addr.s_addr = INADDR_ANY;
  } else {
    reinterpret_cast<sockaddr_in6*>(&at.address)->sin6_addr = in6addr_any;
  }
}

inline Result<void> bind_inet(const descriptor::FileRecord& file, int socket,
                              const files::InetSocket& of) {
  if (of.local.empty()) return {};
  auto at = inet_address(file, of, of.local);
  if (!at) return at.error();
  const bool connected = of.role == files::SocketRole::datagram;
  if (connected) forget_host(*at);
  if (::bind(socket, at->raw(), at->bytes) == 0) return {};
  if (connected && errno == EADDRINUSE) return {};  // connect(2) finds another port
  const int err = errno;
  return cannot_make(file, ("the address " + at->text()).c_str(), err);
}

inline Result<void> connect_inet(const descriptor::FileRecord& file, int socket,
                                 const files::InetSocket& of) {
  const auto at = inet_address(file, of, of.peer);
  if (!at) return at.error();
  if (::connect(socket, at->raw(), at->bytes) == 0) return {};
  const int err = errno;
  return cannot_make(file, ("a connection to " + at->text()).c_str(), err);
}

/// Connects `socket` to a listener of our own on the loopback, which closes it: the socket is then
/// one whose peer has closed. False where that cannot be: it is left unconnected, which reads and
/// writes as an error, too.
inline bool connect_to_the_dead(int socket, int family) {
  InetAddress at;
  at.address.ss_family = static_cast<sa_family_t>(family);
  at.bytes = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  if (family == AF_INET) {
    reinterpret_cast<sockaddr_in*>(&at.address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  } else {
    reinterpret_cast<sockaddr_in6*>(&at.address)->sin6_addr = in6addr_loopback;
  }
  const UniqueFd listener(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener || ::bind(listener.get(), at.raw(), at.bytes) != 0 ||
      ::listen(listener.get(), 8) != 0 || ::getsockname(listener.get(), at.raw(), &at.bytes) != 0 ||
      ::connect(socket, at.raw(), at.bytes) != 0) {
    return false;
  }
  InetAddress own;
  own.bytes = sizeof own.address;
  if (::getsockname(socket, own.raw(), &own.bytes) != 0) return false;
  for (int strangers = 0; strangers < 8; ++strangers) {
    InetAddress from;
    from.bytes = sizeof from.address;
    const UniqueFd peer(::accept4(listener.get(), from.raw(), &from.bytes, SOCK_CLOEXEC));
    if (!peer) return false;
    if (from.text() == own.text()) return true;
  }
  return false;
}

}  // namespace detail

inline Result<UniqueFd> open_inet_socket(Opening& opening, const descriptor::FileRecord& file) {
  const auto of = payload_of<files::InetSocket>(opening, file);
  if (!of) return of.error();
  const bool tcp = of->type == SOCK_STREAM && of->protocol == IPPROTO_TCP;
  const bool udp = of->type == SOCK_DGRAM && of->protocol == IPPROTO_UDP;
  if ((of->family != AF_INET && of->family != AF_INET6) || (!tcp && !udp) ||
      of->role == files::SocketRole::pair) {
    return bad_payload(file, "of an internet socket of no known kind");
  }
  UniqueFd fd(::socket(of->family, of->type | SOCK_CLOEXEC, of->protocol));
  if (!fd) return cannot_make(file, "an internet socket", errno);
  if (Result<void> ok = set_options(file, fd.get(), of->options); !ok) return ok.error();
  if (of->role == files::SocketRole::dead) {
    (void)detail::connect_to_the_dead(fd.get(), of->family);
  } else if (Result<void> ok = detail::bind_inet(file, fd.get(), *of); !ok) {
    return ok.error();
  }
  if (of->role == files::SocketRole::listener && ::listen(fd.get(), of->backlog) != 0) {
    return cannot_make(file, "listen", errno);
  }
  if (of->role == files::SocketRole::datagram) {
    if (Result<void> ok = detail::connect_inet(file, fd.get(), *of); !ok) return ok.error();
  }
  if (Result<void> set = set_flags(fd.get(), file, of->async); !set) return set.error();
  return fd;
}

}  // namespace mitosis::restore
