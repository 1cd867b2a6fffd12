// SPDX-License-Identifier: MIT
// What a program must be asked itself before it is cloned, and its copy afterwards. World: user.
// Raw system calls only: the copy must not touch the program's libc.
#pragma once

#include <fcntl.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>

#include <mitosis/fork/user/arch/arch.hpp>
#include <mitosis/fork/user/local/process_facts.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::client {

namespace detail {

/// Linux 6.3's; Debian 12's headers are of 6.1.
inline constexpr int membarrier_get_registrations = 1 << 9;

/// Finds the numbers in the lines "ID: 7" of a /proc/PID/timers that comes in pieces.
class TimerIds {
 public:
  template <class Found>
  void take(const char* text, long bytes, Found&& found) noexcept {
    constexpr char key[] = "ID: ";
    for (long i = 0; i < bytes; ++i) {
      const char c = text[i];
      if (c == '\n') {
        if (matched_ == 4 && has_digits_) found(id_);
        matched_ = 0;
        id_ = 0;
        has_digits_ = false;
      } else if (matched_ == 4 && c >= '0' && c <= '9') {
        id_ = id_ * 10 + (c - '0');
        has_digits_ = true;
      } else if (matched_ >= 0 && matched_ < 4 && c == key[matched_]) {
        ++matched_;
      } else {
        matched_ = -1;
      }
    }
  }

 private:
  int matched_ = 0;  // of the key; -1: another line
  std::int32_t id_ = 0;
  bool has_digits_ = false;
};

inline void read_posix_timers(local::ProcessFacts& facts) noexcept {
  using arch::raw_syscall;
  facts.timer_count = 0;
  const long fd = raw_syscall(SYS_openat, AT_FDCWD, "/proc/self/timers", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;  // no /proc here, or no list: the agent sees them, and refuses
  TimerIds ids;
  char text[512];
  for (long n; (n = raw_syscall(SYS_read, fd, text, sizeof text)) > 0;) {
    ids.take(text, n, [&](std::int32_t id) {
      itimerspec is = {};
      if (raw_syscall(SYS_timer_gettime, id, &is) != 0) return;
      if (facts.timer_count++ >= local::ProcessFacts::max_timers) return;
      const auto ns = [](const timespec& t) {
        return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
               static_cast<std::uint64_t>(t.tv_nsec);
      };
      facts.timers[facts.timer_count - 1] = {ns(is.it_value), ns(is.it_interval), id, 0};
    });
  }
  (void)raw_syscall(SYS_close, fd);
}

inline void read_interval_timers(local::ProcessFacts& facts) noexcept {
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; ++which) {
    itimerval is = {};
    (void)arch::raw_syscall(SYS_getitimer, which, &is);
    const auto us = [](const timeval& t) {
      return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000u +
             static_cast<std::uint64_t>(t.tv_usec);
    };
    facts.intervals[which] = {us(is.it_value), us(is.it_interval)};
  }
}

inline std::uint64_t pending_now() noexcept {
  std::uint64_t set = 0;
  (void)arch::raw_syscall(SYS_rt_sigpending, &set, sizeof set);
  return set;
}

}  // namespace detail

/// In the program, before its clone, with all signals blocked. A timer that fires meanwhile is
/// either still running or its signal is pending, never neither. Some 4 us.
inline void read_before_clone(local::ProcessFacts& facts) noexcept {
  using arch::raw_syscall;
  constexpr int tries = 8;  // signals may come all the time; then one may count twice
  for (int i = 0; i < tries; ++i) {
    const std::uint64_t before = detail::pending_now();
    detail::read_interval_timers(facts);
    detail::read_posix_timers(facts);
    facts.pending_signals = detail::pending_now();
    if (facts.pending_signals == before) break;
  }
  int answer = 0;
  if (raw_syscall(SYS_prctl, PR_GET_PDEATHSIG, &answer, 0, 0, 0) == 0) {
    facts.death_signal = static_cast<std::uint32_t>(answer);
  }
  if (raw_syscall(SYS_prctl, PR_GET_CHILD_SUBREAPER, &answer, 0, 0, 0) == 0) {
    facts.is_subreaper = static_cast<std::uint32_t>(answer);
  }
}

/// In its copy: what a clone inherits.
inline void read_in_copy(local::ProcessFacts& facts) noexcept {
  using arch::raw_syscall;
  const auto ask = [](int option) {
    const long answer = raw_syscall(SYS_prctl, option, 0, 0, 0, 0);
    return answer < 0 ? 0u : static_cast<std::uint32_t>(answer);
  };
  facts.dumpable = ask(PR_GET_DUMPABLE);
  facts.no_new_privs = ask(PR_GET_NO_NEW_PRIVS);
  facts.no_thp = ask(PR_GET_THP_DISABLE);
  facts.securebits = ask(PR_GET_SECUREBITS);
  facts.timer_slack_ns = ask(PR_GET_TIMERSLACK);
  facts.personality = static_cast<std::uint32_t>(raw_syscall(SYS_personality, 0xffffffffu));
  const long made = raw_syscall(SYS_membarrier, detail::membarrier_get_registrations, 0, 0);
  constexpr std::uint32_t every = MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
                                  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
                                  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE |
                                  MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ;
  // Before Linux 6.3 nobody tells: one too many does no harm, one too few breaks the program.
  facts.membarrier = made < 0 ? every : static_cast<std::uint32_t>(made) & every;
}

}  // namespace mitosis::client
