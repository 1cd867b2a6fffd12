// SPDX-License-Identifier: MIT
// The ops that give the child its parent's attributes, and those that start its timers. World:
// user.
#pragma once

#include <linux/prctl.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include <mitosis/fork/user/local/resume_signal.hpp>
#include <mitosis/fork/user/restore/permitted.hpp>
#include <mitosis/fork/user/restore/posix_timers.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <cstring>
#include <string>

namespace mitosis::restore {

namespace detail {

inline void write_scheduling(const descriptor::SchedulingRecord& want, const Permitted& permitted,
                             ProgramWriter& program) {
  if (permitted.cpus) {
    program.op(SYS_sched_setaffinity, 0, sizeof want.cpus, program.put_value(want.cpus));
  }
  if (permitted.scheduler) {
    // First the number alone: a real-time policy would leave it out.
    program.op(SYS_setpriority, PRIO_PROCESS, 0, permitted.scheduler->nice);
    program.op(SYS_sched_setattr, 0, program.put_value(*permitted.scheduler), 0);
  }
  if (permitted.io_priority) {
    program.op(SYS_ioprio_set, ioprio_who_process, 0, *permitted.io_priority);
  }
  if (want.timer_slack_ns != 0) {
    program.op(SYS_prctl, PR_SET_TIMERSLACK, want.timer_slack_ns, 0, 0, 0);
  }
  if (want.death_signal != 0) {
    program.op(SYS_prctl, PR_SET_PDEATHSIG, want.death_signal, 0, 0, 0);
  }
}

inline void write_process(const descriptor::ProcessRecord& want, const Permitted& permitted,
                          ProgramWriter& program) {
  if (permitted.oom_score_adj) {
    const std::string line = std::to_string(want.oom_score_adj);
    program.op(SYS_write, permitted.oom_score_adj.get(),
               program.put(Bytes(reinterpret_cast<const std::uint8_t*>(line.data()), line.size())),
               line.size());
  }
  if (permitted.securebits) program.op(SYS_prctl, PR_SET_SECUREBITS, want.securebits, 0, 0, 0);
  for (std::uint32_t bit = 1; bit != 0; bit <<= 1) {
    if ((want.membarrier & bit) != 0) program.op_any(SYS_membarrier, bit, 0, 0);
  }
  const auto has = [&want](descriptor::ProcessFlag flag) {
    return (want.flags & flag) != 0 ? 1 : 0;
  };
  program.op(SYS_prctl, PR_SET_THP_DISABLE, has(descriptor::process_no_thp), 0, 0, 0);
  program.op(SYS_prctl, PR_SET_CHILD_SUBREAPER, has(descriptor::process_subreaper), 0, 0, 0);
  if (has(descriptor::process_no_new_privs) != 0) {
    program.op(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  }
  program.op(SYS_prctl, PR_SET_DUMPABLE, has(descriptor::process_dumpable), 0, 0, 0);
  program.op(SYS_personality, want.personality);
}

}  // namespace detail

/// Before anything is mapped: with this bit each readable mapping would become executable too.
inline void write_plain_personality(ProgramWriter& program) {
  program.step("restore the process's attributes");
  program.op(SYS_personality, ::personality(0xffffffff) & ~READ_IMPLIES_EXEC);
}

/// What a fork gives its child, and what the launcher must not pass on.
inline void write_attributes(const DescriptorView& view, const Permitted& permitted,
                             const PosixTimers& timers, ProgramWriter& program) {
  program.step("restore the process's attributes");
  program.op(SYS_umask, view.mm().umask);
  const std::uint64_t no_timer = program.put_value(itimerval{});
  for (const int timer : {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}) {
    program.op(SYS_setitimer, timer, no_timer, 0);
  }
  for (const int id : timers.launchers()) program.op(SYS_timer_delete, id);
  if (view.scheduling().size() != 0) {
    detail::write_scheduling(view.scheduling()[0], permitted, program);
  }
  if (view.process().size() != 0) {
    detail::write_process(view.process()[0], permitted, program);
  } else {
    // A launcher that has changed its user is not dumpable, and could not open its own /proc files.
    program.op(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
  }
}

/// Last: signals that waited in the parent wait again, and time goes on where it stopped. All
/// signals are blocked until the child runs. `birth` is the address of its local::Birth.
inline void write_start(const DescriptorView& view, std::uint64_t birth, ProgramWriter& program) {
  program.step("send the pending signals");
  const auto process = static_cast<std::uint64_t>(::getpid());
  const auto thread = static_cast<std::uint64_t>(::syscall(SYS_gettid));
  for (descriptor::PendingSignalRecord pending : view.pending_signals()) {
    if (local::is_resume_signal(pending.info)) {
      const auto pid = static_cast<std::uint32_t>(process);
      std::memcpy(pending.info + local::siginfo_pid_at, &pid, sizeof pid);
      std::memcpy(pending.info + local::siginfo_value_at, &birth, sizeof birth);
    }
    const std::uint64_t info = program.put_value(pending.info);
    if (pending.thread > 0) continue;  // it sends it to itself
    if (pending.thread < 0) {
      program.op(SYS_rt_sigqueueinfo, process, pending.signal, info);
    } else {
      program.op(SYS_rt_tgsigqueueinfo, process, thread, pending.signal, info);
    }
  }
  program.step("start the timers");
  const auto time = [](std::uint64_t ns) {
    return timespec{static_cast<time_t>(ns / 1'000'000'000u),
                    static_cast<long>(ns % 1'000'000'000u)};
  };
  for (const descriptor::TimerRecord& timer : view.timers()) {
    if (timer.remaining_ns == 0 && timer.interval_ns == 0) continue;
    const itimerspec is = {time(timer.interval_ns), time(timer.remaining_ns)};
    program.op(SYS_timer_settime, timer.id, 0, program.put_value(is), 0);
  }
  if (view.process().size() == 0) return;
  const descriptor::ProcessRecord record = view.process()[0];
  for (int which = ITIMER_REAL; which <= ITIMER_PROF; ++which) {
    const descriptor::IntervalTimerRecord& timer = record.timers[which];
    if (timer.remaining_us == 0) continue;
    const auto us = [](std::uint64_t n) {
      return timeval{static_cast<time_t>(n / 1'000'000u), static_cast<suseconds_t>(n % 1'000'000u)};
    };
    const itimerval is = {us(timer.interval_us), us(timer.remaining_us)};
    program.op(SYS_setitimer, which, program.put_value(is), 0);
  }
}

}  // namespace mitosis::restore
