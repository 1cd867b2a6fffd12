// SPDX-License-Identifier: MIT
// Channel: one end of a local connection, whole packets with file descriptors and the sender's
// identity. World: user. SOCK_SEQPACKET keeps packets apart and tells the peer's end.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/local/deadline.hpp>
#include <mitosis/fork/user/local/packet.hpp>

#include <cerrno>
#include <cstring>
#include <vector>

namespace mitosis::local {

/// Who sent a packet, as the kernel says it; pid 0: a process of another pid namespace.
struct Credentials {
  pid_t pid = 0;
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
};

struct Packet {
  std::vector<std::uint8_t> bytes;
  std::vector<UniqueFd> fds;  ///< close-on-exec
  Credentials sender;
  UniqueFd sender_pidfd;  ///< of that very process, where `pass_pidfds` was asked for
};

/// Has each packet that is received on `socket` come with its sender's pidfd: a pid alone may be
/// another process's by the time it is looked at. False before Linux 6.5.
inline bool pass_pidfds(int socket) noexcept {
  constexpr int so_passpidfd = 76;  // SO_PASSPIDFD of asm-generic/socket.h, newer than libc's
  const int on = 1;
  return ::setsockopt(socket, SOL_SOCKET, so_passpidfd, &on, sizeof on) == 0;
}

/// Sends and receives on a socket that it does not own. One thread at a time per direction.
class ChannelView {
 public:
  explicit ChannelView(int fd) noexcept : fd_(fd) {}
  [[nodiscard]] int fd() const noexcept { return fd_; }

  /// One packet; the descriptors stay the caller's. connection_lost, timed_out.
  Result<void> send(Bytes packet, Span<const int> fds, Deadline deadline) const noexcept;
  /// One packet, waited for. connection_lost at the peer's end.
  Result<Packet> receive(Deadline deadline) const;

  template <LocalMessage M>
  Result<void> send(const M& message, Deadline deadline, Span<const int> fds = {}) const {
    const std::vector<std::uint8_t> bytes = encode_packet(message);
    return send(Bytes(bytes.data(), bytes.size()), fds, deadline);
  }
  /// Sends, and waits for the answer: a Reply, or the Error of a Failed.
  template <LocalMessage Reply, LocalMessage M>
  Result<Reply> call(const M& message, Deadline deadline, Span<const int> fds = {},
                     std::vector<UniqueFd>* received = nullptr) const {
    const Result<void> sent = send(message, deadline, fds);
    if (!sent && sent.code() != Errc::connection_lost) return sent.error();
    Result<Packet> packet = receive(deadline);  // of a lost one: why, if that was told before
    if (!sent && (!packet || !is_failure(Bytes(packet->bytes)))) return sent.error();
    if (!packet) return packet.error();
    if (received != nullptr) *received = std::move(packet->fds);
    return decode_reply<Reply>(Bytes(packet->bytes.data(), packet->bytes.size()));
  }

 private:
  Result<void> wait(short events, Deadline deadline) const noexcept;
  int fd_;
};

/// A ChannelView that owns its socket.
class Channel : public ChannelView {
 public:
  Channel() noexcept : ChannelView(-1) {}
  explicit Channel(UniqueFd fd) noexcept : ChannelView(fd.get()), owned_(std::move(fd)) {}
  Channel(Channel&&) noexcept = default;
  Channel& operator=(Channel&&) noexcept = default;
  [[nodiscard]] int release() noexcept { return owned_.release(); }

 private:
  UniqueFd owned_;
};

inline Result<void> ChannelView::wait(short events, Deadline deadline) const noexcept {
  pollfd p = {fd_, events, 0};
  for (;;) {
    const int n = ::poll(&p, 1, milliseconds_left(deadline));
    if (n > 0) return {};
    if (n == 0) return Error(Errc::timed_out, "waiting for the agent").in("local call");
    if (errno != EINTR) return Error(Errc::system_call_failed, "poll", errno).in("local call");
  }
}

inline Result<void> ChannelView::send(Bytes packet, Span<const int> fds,
                                      Deadline deadline) const noexcept {
  if (packet.size() > max_packet || fds.size() > max_fds) {
    return Error(Errc::limit_exceeded, "a local packet is too long").in("local call");
  }
  iovec part = {const_cast<std::uint8_t*>(packet.data()), packet.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * max_fds)];
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    std::memset(control, 0, message.msg_controllen);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  }
  for (;;) {
    if (::sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return {};
    if (errno == EINTR) continue;
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
      return Error(Errc::connection_lost, "to the local agent", errno).in("local call");
    }
    if (errno != EAGAIN) return Error(Errc::system_call_failed, "sendmsg", errno).in("local call");
    if (Result<void> ready = wait(POLLOUT, deadline); !ready) return ready;
  }
}

inline Result<Packet> ChannelView::receive(Deadline deadline) const {
  // The length first: a reply of thirty bytes must not cost a buffer of the maximum.
  ssize_t n;
  while ((n = ::recv(fd_, nullptr, 0, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT)) < 0) {
    if (errno == EINTR || errno == ECONNRESET) continue;  // said once; what came before is there
    if (errno == ENOTCONN) {
      return Error(Errc::connection_lost, "to the local agent", errno).in("local call");
    }
    if (errno != EAGAIN) return Error(Errc::system_call_failed, "recv", errno).in("local call");
    if (Result<void> ready = wait(POLLIN, deadline); !ready) return ready.error();
  }
  if (n == 0) return Error(Errc::connection_lost, "the peer has closed it").in("local call");
  if (static_cast<std::size_t>(n) > max_packet) {
    return Error(Errc::bad_message, "a local packet is too long").in("local call");
  }
  Packet packet;
  packet.bytes.resize(static_cast<std::size_t>(n));
  iovec part = {packet.bytes.data(), packet.bytes.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * max_fds) + CMSG_SPACE(sizeof(ucred)) +
                                CMSG_SPACE(sizeof(int))];
  constexpr int scm_pidfd = 4;  // SCM_PIDFD of linux/socket.h
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  while ((n = ::recvmsg(fd_, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT)) < 0) {
    if (errno != EINTR) {
      return Error(Errc::system_call_failed, "recvmsg", errno).in("local call");
    }
  }
  for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
    if (h->cmsg_level != SOL_SOCKET) continue;
    if (h->cmsg_type == SCM_RIGHTS) {
      const std::size_t count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
        packet.fds.emplace_back(fd);
      }
    } else if (h->cmsg_type == SCM_CREDENTIALS) {
      ucred from = {};
      std::memcpy(&from, CMSG_DATA(h), sizeof(from));
      packet.sender = {from.pid, from.uid, from.gid};
    } else if (h->cmsg_type == scm_pidfd) {
      int fd = -1;  // an error's number where the sender is gone
      std::memcpy(&fd, CMSG_DATA(h), sizeof(fd));
      if (fd >= 0) packet.sender_pidfd = UniqueFd(fd);
    }
  }
  if ((message.msg_flags & MSG_CTRUNC) != 0) {
    return Error(Errc::limit_exceeded,
                 "no room for the file descriptors of a packet; raise the limit on open files")
        .in("local call");
  }
  if ((message.msg_flags & MSG_TRUNC) != 0) {
    return Error(Errc::bad_message, "a local packet is too long").in("local call");
  }
  packet.bytes.resize(static_cast<std::size_t>(n));
  return packet;
}

}  // namespace mitosis::local
