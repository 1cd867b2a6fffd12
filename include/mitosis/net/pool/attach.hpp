// SPDX-License-Identifier: MIT
// How a process and its machine's connection pool come to share memory. World: user.
// One packet with a memfd there, one with two pipes' ends back; after that the socket only tells,
// by its end, that the other side is gone.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/socket_at.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/pool/area.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace mitosis::pool {

struct Attach {
  std::uint32_t magic = 0x4c4f4f50;  ///< "POOL"
  std::uint16_t version = 2;
  Errc status = Errc::ok;  ///< of the answer
};
struct AttachPacket {
  Attach said;
  UniqueFd fds[2];  ///< the memfd; or the pool's doorbell and what wakes the process
};

/// Shared memory whose size nobody can change any more, so that neither side faults.
[[nodiscard]] inline Result<UniqueFd> make_area(std::size_t bytes) {
  UniqueFd fd(::memfd_create("mitosis-pool", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return Error(Errc::system_call_failed, "memfd_create", errno).in("attach");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Error(Errc::out_of_memory, "the shared memory", errno).in("attach");
  }
  return fd;
}
/// Its size, where it is such memory and of a size that is allowed.
[[nodiscard]] inline Result<std::size_t> check_area(int fd) {
  struct stat status {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || (seals & F_SEAL_WRITE) != 0 ||
      ::fstat(fd, &status) != 0) {
    return Error(Errc::invalid_argument, "the shared memory is not sealed as it must be");
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size <= data_at || size - data_at > max_data) {
    return Error(Errc::limit_exceeded, "1 byte to 256 MiB can be shared");
  }
  return static_cast<std::size_t>(size);
}

/// The pool's side: where processes attach. Who may is who may write to that socket, by the umask
/// root alone in general. invalid_argument: another program serves there, or it is no socket.
[[nodiscard]] inline Result<UniqueFd> listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    const std::string about =
        "--pool-socket, a path of 1 to 107 bytes (beside --socket where it is "
        "not given): " +
        path;
    return Error(Errc::invalid_argument, about.c_str()).in("start a connection pool");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  // One of a pool that was killed is in the way; one that is answered, or too busy to be, belongs
  // to somebody.
  const SocketAt there = socket_at(path);
  if (there != SocketAt::nothing && there != SocketAt::dead) {
    const char* const what = there == SocketAt::no_socket ? ": is there already, and no socket"
                                                          : ": another program serves there";
    return Error(Errc::invalid_argument, (path + what + "; give another --pool-socket").c_str())
        .in("start a connection pool");
  }
  if (there == SocketAt::dead) ::unlink(path.c_str());
  UniqueFd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), 64) != 0) {
    return Error(Errc::system_call_failed, path.c_str(), errno).in("start a connection pool");
  }
  return fd;
}

[[nodiscard]] inline Result<void> send_attach(int socket, const Attach& said, Span<const int> fds) {
  iovec part{const_cast<Attach*>(&said), sizeof said};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  if (::sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) != ssize_t{sizeof said}) {
    return Error(Errc::connection_lost, "sendmsg", errno).in("attach");
  }
  return {};
}

/// One packet, with at most two descriptors. connection_lost, timed_out, protocol_mismatch.
[[nodiscard]] inline Result<void> receive_attach(int socket, AttachPacket& packet, Time deadline) {
  pollfd waiting{socket, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, tcp::timeout_ms(deadline, tcp::monotonic_now()));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return Error(Errc::timed_out).in("attach");
  iovec part{&packet.said, sizeof packet.said};
  alignas(cmsghdr) char control[CMSG_SPACE(2 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); got >= 0 && at != nullptr;
       at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
      UniqueFd owned(fd);
      if (i < 2) packet.fds[i] = std::move(owned);
    }
  }
  if (got <= 0) return Error(Errc::connection_lost, "recvmsg", got < 0 ? errno : 0).in("attach");
  if (got != ssize_t{sizeof packet.said} || packet.said.magic != Attach{}.magic ||
      packet.said.version != Attach{}.version) {
    return Error(Errc::protocol_mismatch, "the connection pool's").in("attach");
  }
  return {};
}

}  // namespace mitosis::pool
