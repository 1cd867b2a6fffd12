// SPDX-License-Identifier: MIT
// The calling process, as far as it must be fit and quiet to be replaced. World: user.
#pragma once

#include <sys/stat.h>

#include <mitosis/base/result.hpp>

#include <cerrno>
#include <csignal>

namespace mitosis::restore {

/// Threads would go on running in memory that is replaced under them.
inline Result<void> check_single_thread() noexcept {
  struct stat tasks = {};
  if (::stat("/proc/self/task", &tasks) != 0) {
    return Error(Errc::system_call_failed, "/proc/self/task", errno).in("check the caller");
  }
  constexpr nlink_t of_one_thread = 3;  // ".", "..", and one for each
  if (tasks.st_nlink == of_one_thread) return {};
  return Error(Errc::invalid_argument, "the calling process has other threads; let them end first")
      .in("check the caller");
}

/// Blocks all signals of the calling thread, until destroyed.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    (void)::sigprocmask(SIG_SETMASK, &all, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { (void)::sigprocmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace mitosis::restore
