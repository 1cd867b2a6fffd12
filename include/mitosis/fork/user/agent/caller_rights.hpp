// SPDX-License-Identifier: MIT
// CallerRights: what the caller of a request may do, to be taken on by a process. World: user.
// Whom a caller may trace is the kernel's to say: a process with the caller's rights asks it.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/local/channel.hpp>

#include <cstdint>
#include <string>

namespace mitosis::agent {

/// Real user and group. Capabilities only of root: a program that an ordinary user executes may
/// have some that the user has not, and its pid stays the same.
struct CallerRights {
  std::uint32_t uid = 0, gid = 0;
  std::uint64_t capabilities = 0;
};

namespace detail {

inline constexpr int so_peerpidfd = 77;  // Linux 6.5

/// The process at the other end, by a descriptor that no later process can take the place of.
inline Result<UniqueFd> peer_pidfd(int socket, pid_t pid) noexcept {
  int fd = -1;
  socklen_t bytes = sizeof fd;
  ucred peer = {};
  socklen_t peer_bytes = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &peer_bytes) != 0 || peer.pid != pid) {
    return Error(Errc::not_permitted, "the request is not from who opened the connection");
  }
  if (::getsockopt(socket, SOL_SOCKET, so_peerpidfd, &fd, &bytes) != 0) {
    fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
  }
  if (fd < 0) return Error(Errc::child_died, "the caller", errno);
  return UniqueFd(fd);
}

inline bool same_namespace(pid_t pid, const char* which) {
  struct stat ours = {}, theirs = {};
  const std::string tail = std::string("/ns/") + which;
  return ::stat(("/proc/self" + tail).c_str(), &ours) == 0 &&
         ::stat(("/proc/" + std::to_string(pid) + tail).c_str(), &theirs) == 0 &&
         ours.st_ino == theirs.st_ino;
}

}  // namespace detail

/// Of the sender of a packet that came over `socket`. A pid means what it means to the agent, so a
/// caller in another pid namespace is refused.
inline Result<CallerRights> caller_rights(const local::Credentials& sender, int socket) {
  const Result<UniqueFd> caller = detail::peer_pidfd(socket, sender.pid);
  if (!caller) return Error(caller.error()).in("look at the caller");
  if (sender.pid <= 0 || !detail::same_namespace(sender.pid, "pid")) {
    return Error(Errc::not_permitted, "the caller is in another pid namespace than the agent")
        .in("look at the caller");
  }
  CallerRights rights{sender.uid, sender.gid, 0};
  if (sender.uid == 0 && detail::same_namespace(sender.pid, "user")) {
    const auto process = capture::open_process(sender.pid);
    if (!process) return process.error();
    const auto status = capture::read_at(process->get(), "status", 1u << 20);
    if (!status) return status.error();
    rights.capabilities =
        capture::number(capture::field(capture::view(*status), "CapEff"), 16).value_or(0);
  }
  pollfd alive = {caller->get(), POLLIN, 0};
  if (::poll(&alive, 1, 0) != 0) {
    return Error(Errc::child_died, "the caller").in("look at the caller");
  }
  return rights;
}

/// The calling process has these rights from now on, as far as it has them now, and no others.
/// False: it must not go on.
inline bool take_on(const CallerRights& rights) noexcept {
  if (::setgroups(0, nullptr) != 0 || ::setresgid(rights.gid, rights.gid, rights.gid) != 0 ||
      ::setresuid(rights.uid, rights.uid, rights.uid) != 0) {
    return false;
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) != 0) return false;
  for (int half = 0; half < 2; ++half) {
    const auto theirs = static_cast<std::uint32_t>(rights.capabilities >> (32 * half));
    data[half].permitted &= theirs;
    data[half].effective = data[half].permitted;
    data[half].inheritable = 0;
  }
  return ::syscall(SYS_capset, &header, data) == 0;
}

}  // namespace mitosis::agent
