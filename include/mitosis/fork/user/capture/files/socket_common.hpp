// SPDX-License-Identifier: MIT
// What all sockets have: integers of getsockopt(2), options, the packets that wait. World: user.
#pragma once

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <mitosis/fork/user/capture/files/target.hpp>
#include <mitosis/fork/user/files/socket_options.hpp>

#include <cstring>

namespace mitosis::capture {

/// An integer option; -1 where the socket does not have it.
inline int get_number(int socket, int level, int name) noexcept {
  int value = -1;
  socklen_t bytes = sizeof value;
  return ::getsockopt(socket, level, name, &value, &bytes) == 0 ? value : -1;
}

/// All options of the table that have another value than usual.
inline std::vector<files::SocketOption> read_options(int socket, int family, int protocol) {
  std::vector<files::SocketOption> found;
  for (std::uint16_t id = 0; id < files::option_count; ++id) {
    if (!files::applies(files::option_kinds[id], family, protocol)) continue;
    if (const auto option = files::get_option(socket, id)) found.push_back(*option);
  }
  return found;
}

namespace detail {

/// Closes descriptors that came with a peeked message: the kernel gives a peeker copies.
inline bool drop_rights(msghdr& message) noexcept {
  bool any = (message.msg_flags & MSG_CTRUNC) != 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    any = true;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const char*>(c) + at, sizeof fd);
      ::close(fd);
    }
  }
  return any;
}

/// One look at what waits, up to `room` bytes; without taking it out. No bytes: nothing waits.
inline Result<files::Chunk> peek(const OpenFile& file, int socket, std::size_t room) {
  files::Chunk chunk;
  chunk.bytes.resize(room);
  iovec into = {chunk.bytes.data(), room};
  alignas(cmsghdr) char control[512];
  msghdr message = {};
  message.msg_iov = &into;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  constexpr int flags = MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC;
  const ssize_t n = ::recvmsg(socket, &message, flags);
  if (n < 0) {
    if (errno == EAGAIN) return files::Chunk{};
    return Error(Errc::system_call_failed, "recvmsg", errno).in("check open files");
  }
  if (drop_rights(message)) return refuse_file(file, "a socket with descriptors in flight");
  if ((message.msg_flags & MSG_TRUNC) != 0) return refuse_file(file, "a socket with a long packet");
  chunk.bytes.resize(static_cast<std::size_t>(n));
  return chunk;
}

/// Peeks from one packet to the next, until destroyed. The offset is the socket's, so it is there
/// only while it must be.
class PeekOffset {
 public:
  explicit PeekOffset(int socket) noexcept
      : socket_(socket), before_(get_number(socket, SOL_SOCKET, SO_PEEK_OFF)) {
    set(0);
  }
  PeekOffset(const PeekOffset&) = delete;
  PeekOffset& operator=(const PeekOffset&) = delete;
  ~PeekOffset() { set(before_); }

 private:
  void set(int value) noexcept {
    (void)::setsockopt(socket_, SOL_SOCKET, SO_PEEK_OFF, &value, sizeof value);
  }
  int socket_, before_;
};

}  // namespace detail

/// What waits to be read of a unix socket, oldest first: a stream's in one, packets one by one.
inline Result<std::vector<files::Chunk>> read_incoming(Target& target, const OpenFile& file,
                                                       int socket, int type) {
  std::vector<files::Chunk> incoming;
  int waiting = 0;
  if (::ioctl(socket, FIONREAD, &waiting) != 0) waiting = 0;
  const bool stream = type == SOCK_STREAM;
  if (stream && waiting == 0) return incoming;
  // A packet socket tells the length of its first packet only, which may be empty.
  constexpr std::size_t longest_packet = std::size_t{1} << 20;
  const std::size_t room = stream ? static_cast<std::size_t>(waiting) : longest_packet;
  std::optional<detail::PeekOffset> offset;
  if (!stream) offset.emplace(socket);
  for (;;) {
    Result<files::Chunk> chunk = detail::peek(file, socket, room);
    if (!chunk) return chunk.error();
    if (chunk->bytes.empty()) break;
    if (Result<void> fits = target.carry(chunk->bytes.size()); !fits) return fits.error();
    const std::size_t got = chunk->bytes.size();
    incoming.push_back(std::move(*chunk));
    if (!stream) continue;
    if (got != room) return refuse_file(file, "a socket whose content cannot be copied");
    break;
  }
  return incoming;
}

}  // namespace mitosis::capture
