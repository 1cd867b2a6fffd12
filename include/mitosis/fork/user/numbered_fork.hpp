// SPDX-License-Identifier: MIT
// numbered_fork(): fork(2) under a chosen process number. World: user.
#pragma once

#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace mitosis {

/// A copy of the calling process, which must be single-threaded: 0 in the copy, its number in the
/// caller, -errno on failure. `number` 0: any; else it takes CAP_CHECKPOINT_RESTORE over the pid
/// namespace. `flags` are clone(2)'s, `exit_signal` what its parent is sent at its end.
inline long numbered_fork(std::uint32_t number, std::uint64_t exit_signal,
                          std::uint64_t flags = 0) noexcept {
  int* tid_address = nullptr;  // the C library's note of its thread's number
  ::prctl(PR_GET_TID_ADDRESS, &tid_address);
  pid_t set_tid = static_cast<pid_t>(number);
  clone_args args = {};
  args.flags = flags;
  args.exit_signal = exit_signal;
  if (tid_address != nullptr) args.flags |= CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID;
  args.child_tid = reinterpret_cast<std::uint64_t>(tid_address);
  if (number != 0) {
    args.set_tid = reinterpret_cast<std::uint64_t>(&set_tid);
    args.set_tid_size = 1;
  }
  const long pid = ::syscall(SYS_clone3, &args, sizeof args);
  return pid < 0 ? -errno : pid;
}

}  // namespace mitosis
