// SPDX-License-Identifier: MIT
// Where the agent's socket is, how to listen on it and how to connect to it. World: user.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include <mitosis/fork/user/local/channel.hpp>

#include <cstdlib>
#include <string>

namespace mitosis::local {

/// $MITOSIS_SOCKET, or the default. A set-uid program does not listen to its environment.
inline std::string socket_path() {
  const char* set = ::secure_getenv("MITOSIS_SOCKET");
  return set != nullptr && *set != '\0' ? set : default_socket;
}

namespace detail {
inline Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Error(Errc::invalid_argument, "the socket's path is longer than 107 bytes")
        .in("open the local agent");
  }
  path.copy(address.sun_path, path.size());
  return address;
}
}  // namespace detail

/// Connects an unconnected socket; waits at most `patience` for an agent whose backlog is full.
inline Result<void> connect_socket(int fd, const std::string& path,
                                   std::chrono::milliseconds patience) {
  Result<sockaddr_un> address = detail::socket_address(path);
  if (!address) return address.error();
  timeval wait = {};
  wait.tv_sec = patience.count() / 1000;
  wait.tv_usec = patience.count() % 1000 * 1000;
  (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
  while (::connect(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    const int err = errno;
    if (err == EINTR) continue;
    Errc code = Errc::system_call_failed;
    if (err == ENOENT || err == ECONNREFUSED || err == ENOTDIR) code = Errc::agent_not_running;
    if (err == EACCES || err == EPERM) code = Errc::missing_privilege;
    if (err == EAGAIN) code = Errc::timed_out;
    return Error(code, path.c_str(), err).in("open the local agent");
  }
  return {};
}

/// A new connection to the agent at `path`; its descriptor is never 0, 1 or 2.
inline Result<Channel> connect(const std::string& path, std::chrono::milliseconds patience) {
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (fd &&
      fd.get() <= STDERR_FILENO) {  // of a process without one: its children's stdio is not it
    fd.reset(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  }
  if (!fd) return Error(Errc::system_call_failed, "socket", errno).in("open the local agent");
  if (Result<void> done = connect_socket(fd.get(), path, patience); !done) return done.error();
  return Channel(std::move(fd));
}

/// The agent's side: a listening socket that tells who sends, open to every user of the machine
/// (the agent checks each packet's credentials). A stale socket file must be gone already.
inline Result<UniqueFd> listen(const std::string& path, int backlog = 1024) {
  Result<sockaddr_un> address = detail::socket_address(path);
  if (!address) return address.error();
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd) return Error(Errc::system_call_failed, "socket", errno).in("listen");
  const int on = 1;  // before listen: accepted sockets inherit it, so no packet is without
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0 ||
      ::chmod(path.c_str(), 0666) != 0 || ::listen(fd.get(), backlog) != 0) {
    return Error(Errc::system_call_failed, path.c_str(), errno).in("listen");
  }
  return fd;
}

/// The next connection; the listening socket must be readable.
inline Result<Channel> accept(int listening) noexcept {
  const int fd = ::accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  if (fd < 0) return Error(Errc::system_call_failed, "accept", errno).in("listen");
  return Channel(UniqueFd(fd));
}

}  // namespace mitosis::local
