// SPDX-License-Identifier: MIT
// read_unix_socket(): pairs, listeners, datagram sockets; and what is left of others. World: user.
#pragma once

#include <mitosis/fork/user/capture/files/async.hpp>
#include <mitosis/fork/user/capture/files/socket_common.hpp>
#include <mitosis/fork/user/files/payload.hpp>

#include <cstddef>
#include <string>

namespace mitosis::capture {

namespace detail {

/// A unix address as text: a path, or a zero byte and an abstract name, or nothing.
inline std::string unix_name(const sockaddr_un& address, socklen_t bytes) {
  constexpr std::size_t head = offsetof(sockaddr_un, sun_path);
  if (bytes <= head) return {};
  std::string name(address.sun_path, std::min<std::size_t>(bytes, sizeof address) - head);
  if (name[0] != '\0')
    name.resize(name.find('\0') == std::string::npos ? name.size() : name.find('\0'));
  return name;
}

/// A path that the program gave relative to its working directory, from the root on.
inline std::string absolute(const Target& target, std::string name) {
  if (name.empty() || name[0] == '\0' || name[0] == '/') return name;
  const Result<std::string> cwd = link_at(target.process(), "cwd");
  return cwd ? *cwd + "/" + name : name;
}

inline void read_unix_names(const Target& target, int socket, files::UnixSocket& seen) {
  sockaddr_un address = {};
  socklen_t bytes = sizeof address;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(socket, raw, &bytes) == 0) {
    seen.name = absolute(target, unix_name(address, bytes));
  }
  bytes = sizeof address;
  if (::getpeername(socket, raw, &bytes) == 0) {
    seen.peer_name = absolute(target, unix_name(address, bytes));
  }
  struct stat is = {};
  if (!seen.name.empty() && seen.name[0] == '/' &&
      ::fstatat(target.process(), ("root" + seen.name).c_str(), &is, 0) == 0) {
    seen.mode = is.st_mode & 07777;
  }
}

/// The descriptor of the process that is the socket `inode`; -1: somebody else's.
inline std::int32_t find_socket(const std::vector<OpenFile>& all, std::uint32_t inode) noexcept {
  for (const OpenFile& file : all) {
    if (file.kind == descriptor::FileKind::unix_socket && file.same_as < 0 && file.inode == inode) {
      return file.fd;
    }
  }
  return -1;
}

/// What a socket that is connected becomes.
inline Result<void> read_connection(Target& target, const std::vector<OpenFile>& all,
                                    const OpenFile& file, int socket, std::uint32_t peer,
                                    files::UnixSocket& seen) {
  seen.peer = peer != 0 ? find_socket(all, peer) : -1;
  if (seen.peer >= 0) {
    const Result<UnixSocketInfo> back = target.unix_socket(peer);
    if (!back) return back.error();
    // A datagram socket may be connected to one that is not connected to it.
    seen.role = back->peer == file.inode ? files::SocketRole::pair : files::SocketRole::datagram;
  } else {
    seen.role = seen.type == SOCK_DGRAM && peer != 0 ? files::SocketRole::datagram
                                                     : files::SocketRole::dead;
  }
  if (seen.role == files::SocketRole::datagram && seen.peer_name.empty()) {
    return refuse_file(file, "a datagram socket whose peer has no name");
  }
  // What somebody else has sent is the parent's to answer; what the process sent itself is not.
  const bool own = seen.role == files::SocketRole::pair || peer == 0;
  if (!own) return {};
  auto incoming = read_incoming(target, file, socket, seen.type);
  if (!incoming) return incoming.error();
  seen.incoming = std::move(*incoming);
  return {};
}

}  // namespace detail

/// `socket` is a duplicate.
inline Result<void> read_unix_socket(Target& target, const std::vector<OpenFile>& all,
                                     OpenFile& file, int socket) {
  files::UnixSocket seen;
  seen.type = get_number(socket, SOL_SOCKET, SO_TYPE);
  seen.options = read_options(socket, AF_UNIX, 0);
  Result<files::Async> async = read_async(target, file, socket);
  if (!async) return async.error();
  seen.async = *async;
  const Result<UnixSocketInfo> info = target.unix_socket(file.inode);
  if (!info) return info.error();
  detail::read_unix_names(target, socket, seen);
  seen.shut = info->shut;
  if (info->listens) {
    seen.role = files::SocketRole::listener;
    seen.backlog = static_cast<std::int32_t>(info->backlog);
  } else if (info->connected || info->peer) {
    if (Result<void> ok =
            detail::read_connection(target, all, file, socket, info->peer.value_or(0), seen);
        !ok) {
      return ok;
    }
  }
  file.path.clear();
  file.data = files::encode(seen);
  return {};
}

}  // namespace mitosis::capture
