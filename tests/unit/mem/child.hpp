// SPDX-License-Identifier: MIT
// SleepingChild: a forked process that only sleeps, as a shadow does. World: user.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>

namespace mitosis::test {

/// A copy-on-write copy of this process at the time of construction; dies with the object.
class SleepingChild {
 public:
  SleepingChild() {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) ::pause();
    }
    pidfd_.reset(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  }
  ~SleepingChild() { end(); }
  SleepingChild(const SleepingChild&) = delete;
  SleepingChild& operator=(const SleepingChild&) = delete;

  /// Kills it; it stays a zombie until `reap`.
  void kill() {
    ::kill(pid_, SIGKILL);
    siginfo_t info;
    ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT);
  }
  void reap() { ::waitpid(pid_, nullptr, 0); }
  void end() {
    if (pid_ <= 0) return;
    kill();
    reap();
    pid_ = -1;
  }
  [[nodiscard]] int pid() const { return pid_; }
  [[nodiscard]] int pidfd() const { return pidfd_.get(); }

 private:
  int pid_ = -1;
  UniqueFd pidfd_;
};

}  // namespace mitosis::test
