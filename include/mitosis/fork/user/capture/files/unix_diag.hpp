// SPDX-License-Identifier: MIT
// UnixDiag: asks the kernel which unix socket is whose peer: sock_diag(7). World: user.
#pragma once

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>

namespace mitosis::capture {

struct UnixSocketInfo {
  bool listens = false, connected = false;
  std::optional<std::uint32_t> peer;  ///< inode; 0: closed already, or not accepted yet
  std::uint8_t shut = 0;              ///< bit 0: does not receive any more, bit 1: does not send
  std::uint32_t backlog = 0;          ///< of a listener
};

namespace detail {
/// The calling thread in another network namespace, until destroyed.
class InNetwork {
 public:
  explicit InNetwork(int network) noexcept
      : own_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)),
        entered_(own_ && ::setns(network, CLONE_NEWNET) == 0) {}
  InNetwork(const InNetwork&) = delete;
  InNetwork& operator=(const InNetwork&) = delete;
  ~InNetwork() {
    if (entered_) (void)::setns(own_.get(), CLONE_NEWNET);
  }
  [[nodiscard]] bool entered() const noexcept { return entered_; }

 private:
  UniqueFd own_;
  bool entered_;
};
}  // namespace detail

/// One netlink socket in a process's network namespace.
class UnixDiag {
 public:
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(socket_); }

  /// `process` is its /proc/PID. The socket stays in its namespace.
  Result<void> open(int process) {
    const UniqueFd network(::openat(process, "ns/net", O_RDONLY | O_CLOEXEC));
    struct stat its = {}, own = {};
    if (!network || ::fstat(network.get(), &its) != 0 ||
        ::stat("/proc/thread-self/ns/net", &own) != 0) {
      return failed("its network namespace", errno);
    }
    if (its.st_ino == own.st_ino) return make();
    const detail::InNetwork inside(network.get());
    if (!inside.entered()) return failed("enter its network namespace", errno);
    return make();
  }

  /// What is known of the socket with this inode.
  Result<UnixSocketInfo> ask(std::uint32_t inode) {
    struct {
      nlmsghdr head;
      unix_diag_req body;
    } request = {};
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.head.nlmsg_flags = NLM_F_REQUEST;
    request.body.sdiag_family = AF_UNIX;
    request.body.udiag_states = ~0u;
    request.body.udiag_ino = inode;
    request.body.udiag_show = UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN;
    request.body.udiag_cookie[0] = request.body.udiag_cookie[1] = ~0u;
    if (::send(socket_.get(), &request, sizeof request, 0) != ssize_t{sizeof request}) {
      return failed("sock_diag", errno);
    }
    alignas(nlmsghdr) char answer[2048];
    const ssize_t n = ::recv(socket_.get(), answer, sizeof answer, 0);
    if (n < 0) return failed("sock_diag", errno);
    return read(answer, static_cast<std::size_t>(n));
  }

 private:
  static Error failed(const char* what, int err) noexcept {
    return Error(Errc::system_call_failed, what, err).in("look at a unix socket");
  }
  Result<void> make() {
    socket_ = UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
    if (!socket_) return failed("NETLINK_SOCK_DIAG", errno);
    return {};
  }
  static Result<UnixSocketInfo> read(const char* answer, std::size_t bytes) {
    nlmsghdr head = {};
    unix_diag_msg body = {};
    if (bytes < NLMSG_HDRLEN) return failed("a short answer", EBADMSG);
    std::memcpy(&head, answer, sizeof head);
    if (head.nlmsg_type == NLMSG_ERROR && bytes >= NLMSG_HDRLEN + sizeof(int)) {
      int err = 0;
      std::memcpy(&err, answer + NLMSG_HDRLEN, sizeof err);
      return failed("sock_diag", -err);
    }
    if (bytes < NLMSG_HDRLEN + sizeof body) return failed("a short answer", EBADMSG);
    std::memcpy(&body, answer + NLMSG_HDRLEN, sizeof body);
    UnixSocketInfo info;
    constexpr std::uint8_t tcp_established = 1, tcp_listen = 10;
    info.listens = body.udiag_state == tcp_listen;
    info.connected = body.udiag_state == tcp_established;
    std::size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof body);
    rtattr attribute = {};
    while (at + sizeof attribute <= bytes) {
      std::memcpy(&attribute, answer + at, sizeof attribute);
      if (attribute.rta_len < sizeof attribute || attribute.rta_len > bytes - at) break;
      const char* value = answer + at + RTA_LENGTH(0);
      const std::size_t length = attribute.rta_len - RTA_LENGTH(0);
      if (attribute.rta_type == UNIX_DIAG_PEER && length >= 4) {
        std::memcpy(&info.peer.emplace(), value, 4);
      }
      if (attribute.rta_type == UNIX_DIAG_SHUTDOWN && length >= 1)
        std::memcpy(&info.shut, value, 1);
      if (attribute.rta_type == UNIX_DIAG_RQLEN && length >= sizeof(unix_diag_rqlen)) {
        unix_diag_rqlen queue = {};
        std::memcpy(&queue, value, sizeof queue);
        if (info.listens) info.backlog = queue.udiag_wqueue;
      }
      at += RTA_ALIGN(attribute.rta_len);
    }
    return info;
  }

  UniqueFd socket_;
};

}  // namespace mitosis::capture
