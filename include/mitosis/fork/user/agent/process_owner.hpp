// SPDX-License-Identifier: MIT
// check_owner, sender_of: is a process the one, and its user's, that it is said to be? World: user.
#pragma once

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/local/channel.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace mitosis::agent {

/// The agent may look into every process, its callers may not. A packet says who its sender was as
/// it was sent; since then the process may have executed a set-uid program, or ended and left its
/// pid to another. What a user may look into has a /proc directory of his.
inline Result<void> check_owner(int pid, std::uint32_t uid) noexcept {
  if (uid == 0) return {};
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d", pid);
  struct stat about = {};
  if (::stat(path, &about) != 0) return Error(Errc::child_died, path, errno).in("check its owner");
  if (about.st_uid == uid) return {};
  return Error(Errc::not_permitted, "the process has other rights than its user")
      .in("check its owner");
}

/// The pidfd of a packet's sender, who is still there: child_died where he is not. `socket`: what
/// it was received on, with local::pass_pidfds as `passed` says.
inline Result<UniqueFd> sender_of(local::Packet& packet, int socket, bool passed) noexcept {
  const auto gone = [] { return Error(Errc::child_died).in("look at a packet's sender"); };
  if (passed)
    return packet.sender_pidfd ? std::move(packet.sender_pidfd) : Result<UniqueFd>(gone());
  // Only its pid came (Linux before 6.5), which may be another's by now. Not if the socket's other
  // end is still held after the pidfd was opened: a launcher has one thread and no children.
  UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, packet.sender.pid, 0)));
  pollfd other = {socket, 0, 0};
  if (!pidfd || ::poll(&other, 1, 0) != 0) return gone();
  if (auto r = check_owner(packet.sender.pid, packet.sender.uid); !r) return r.error();
  return pidfd;
}

}  // namespace mitosis::agent
