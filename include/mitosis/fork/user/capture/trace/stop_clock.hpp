// SPDX-License-Identifier: MIT
// StopClock: waiting for traced threads with a deadline. World: user.
// waitpid(2) is the one way to learn of a stop, and has no timeout; a repeating timer interrupts
// it.
#pragma once

#include <signal.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>

#include <mitosis/base/result.hpp>

#include <cerrno>
#include <chrono>

namespace mitosis::capture {

/// Takes the process's ITIMER_REAL and SIGALRM while it lives, and gives them back to an earlier
/// one at its end. One thread.
class StopClock {
 public:
  using Clock = std::chrono::steady_clock;

  explicit StopClock(std::chrono::milliseconds patience) noexcept {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // without SA_RESTART: a wait returns
    ::sigaction(SIGALRM, &action, &action_before_);
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    ::pthread_sigmask(SIG_UNBLOCK, &alarm, &mask_before_);
    const itimerval tick = {{0, 20'000}, {0, 20'000}};
    ::setitimer(ITIMER_REAL, &tick, &timer_before_);
    restart(patience);
  }
  StopClock(const StopClock&) = delete;
  StopClock& operator=(const StopClock&) = delete;
  ~StopClock() {
    ::setitimer(ITIMER_REAL, &timer_before_, nullptr);
    ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
    ::sigaction(SIGALRM, &action_before_, nullptr);
  }

  /// From now on waits end so late.
  void restart(std::chrono::milliseconds patience) noexcept { deadline_ = Clock::now() + patience; }
  [[nodiscard]] bool passed() const noexcept { return Clock::now() > deadline_; }

  /// The next wait status of a traced thread. timed_out; child_died where there is none any more.
  Result<int> wait(pid_t tid) const noexcept {
    for (;;) {
      int status = 0;
      if (::waitpid(tid, &status, __WALL) == tid) return status;
      if (errno != EINTR) return Error(Errc::child_died, "a thread is gone", errno);
      if (passed()) return Error(Errc::timed_out, "a thread does not stop");
    }
  }

 private:
  Clock::time_point deadline_;
  struct sigaction action_before_ = {};
  sigset_t mask_before_ = {};
  itimerval timer_before_ = {};
};

}  // namespace mitosis::capture
