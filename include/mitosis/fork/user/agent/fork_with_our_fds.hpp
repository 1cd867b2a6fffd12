// SPDX-License-Identifier: MIT
// A fork of the keeper that shares its descriptors: worker and guard are such. World: user.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>

#include <cerrno>

namespace mitosis::agent::detail {

/// A process that shares our descriptors but not our memory: fork(2) otherwise. The thread library
/// of the copy must know its own thread id, hence the two TID flags (as glibc's fork does).
inline Result<pid_t> fork_with_our_fds(const char* step) noexcept {
  int* tid_address = nullptr;
  if (::prctl(PR_GET_TID_ADDRESS, &tid_address) != 0) {
    return Error(Errc::system_call_failed, "prctl(PR_GET_TID_ADDRESS)", errno).in(step);
  }
  const long flags = CLONE_FILES | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD;
  const long pid = ::syscall(SYS_clone, flags, nullptr, nullptr, tid_address, nullptr);
  if (pid < 0) return Error(Errc::system_call_failed, "clone", errno).in(step);
  return static_cast<pid_t>(pid);
}

}  // namespace mitosis::agent::detail
