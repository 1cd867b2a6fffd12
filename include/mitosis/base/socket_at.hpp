// SPDX-License-Identifier: MIT
// What is at a path where a unix socket is to be: who starts there removes what a killed program
// has left, and nothing else. World: user.
#pragma once

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstdint>
#include <string>

namespace mitosis {

enum class SocketAt : std::uint8_t {
  nothing,    ///< or a folder on the way is none
  dead,       ///< nobody listens there any more
  listening,  ///< somebody does, though perhaps too busy to answer
  other,      ///< a socket of another kind, or one that cannot be asked
  no_socket,  ///< something else
};

/// Asks by connecting, as SOCK_SEQPACKET; never waits.
[[nodiscard]] inline SocketAt socket_at(const std::string& path) noexcept {
  struct stat there {};
  if (::lstat(path.c_str(), &there) != 0) return SocketAt::nothing;
  if (!S_ISSOCK(there.st_mode)) return SocketAt::no_socket;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return SocketAt::other;
  path.copy(address.sun_path, path.size());
  const UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return SocketAt::other;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN) {
    return SocketAt::listening;
  }
  return errno == ECONNREFUSED ? SocketAt::dead
         : errno == ENOENT     ? SocketAt::nothing  // it has just gone
                               : SocketAt::other;
}

}  // namespace mitosis
