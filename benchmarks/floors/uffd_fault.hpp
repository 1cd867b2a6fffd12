// SPDX-License-Identifier: MIT
// The floor of a fault, second part: one process touches a page, another one reads the event from
// its userfaultfd and installs the page. No network, no table, nothing else. World: user.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <floors/userfault.hpp>
#include <harness/clock.hpp>
#include <harness/forked.hpp>
#include <harness/memory.hpp>
#include <harness/samples.hpp>

#include <cstring>
#include <optional>

namespace bench {

namespace detail {
/// Hands a file descriptor to the process at the socket's other end.
inline bool send_fd(int socket, int fd) {
  char byte = 0;
  iovec part = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
  return ::sendmsg(socket, &message, MSG_NOSIGNAL) == 1;
}
inline UniqueFd receive_fd(int socket) {
  char byte = 0;
  iovec part = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1) return {};
  const cmsghdr* head = CMSG_FIRSTHDR(&message);
  if (head == nullptr || head->cmsg_type != SCM_RIGHTS) return {};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
  return UniqueFd(fd);
}

/// Maps, registers, hands the userfaultfd over and touches page after page, timing each.
inline int touch_pages(int pager, int report, std::size_t pages) {
  const Memory memory(pages * page);
  const Userfault fault(memory);
  if (!memory.ok() || !fault.ok() || !send_fd(pager, fault.fd())) return 1;
  Samples samples;
  for (std::size_t i = 0; i < pages; ++i) {
    const std::int64_t start = now_ns();
    *static_cast<volatile std::uint8_t*>(memory.data() + i * page);
    samples.add(static_cast<double>(now_ns() - start));
  }
  const double median = samples.median();
  return ::write(report, &median, sizeof median) == sizeof median ? 0 : 1;
}
}  // namespace detail

/// Nanoseconds that the touching process waited, the median of so many pages.
inline std::optional<double> uffd_fault_ns(std::size_t pages) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return std::nullopt;
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  const Forked child([&] { return detail::touch_pages(theirs.get(), theirs.get(), pages); });
  theirs.reset();
  const UniqueFd fault = detail::receive_fd(ours.get());
  if (!child.ok() || !fault) return std::nullopt;
  const Memory bytes(page);
  bytes.touch();
  for (std::size_t served = 0; served < pages; ++served) {
    uffd_msg event;
    if (::read(fault.get(), &event, sizeof event) != sizeof event ||
        event.event != UFFD_EVENT_PAGEFAULT ||
        !uffd_copy(fault.get(), event.arg.pagefault.address & ~(page - 1), bytes.data(), page)) {
      return std::nullopt;
    }
  }
  double median = 0;
  if (::recv(ours.get(), &median, sizeof median, 0) != sizeof median) return std::nullopt;
  return median;
}

}  // namespace bench
