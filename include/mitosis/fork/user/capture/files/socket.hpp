// SPDX-License-Identifier: MIT
// read_socket(): a socket, by its family. World: user.
#pragma once

#include <mitosis/fork/user/capture/files/inet_socket.hpp>
#include <mitosis/fork/user/capture/files/unix_socket.hpp>

namespace mitosis::capture {

inline Result<void> read_socket(Target& target, const std::vector<OpenFile>& all, OpenFile& file) {
  Result<UniqueFd> copy = target.duplicate(file);
  if (!copy) return copy.error();
  const int family = get_number(copy->get(), SOL_SOCKET, SO_DOMAIN);
  if (family == AF_UNIX) return read_unix_socket(target, all, file, copy->get());
  if (family == AF_INET || family == AF_INET6) {
    return read_inet_socket(target, file, copy->get(), family);
  }
  if (family == AF_NETLINK) return refuse_file(file, "a netlink socket");
  if (family == AF_PACKET) return refuse_file(file, "a packet socket");
  return refuse_file(file, fmt::format("a socket of family {}", family));
}

}  // namespace mitosis::capture
