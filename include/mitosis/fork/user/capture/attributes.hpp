// SPDX-License-Identifier: MIT
// A process's attributes, as its descriptor tells them: timers, signals, scheduling. World: user.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_timers.hpp>
#include <mitosis/fork/user/local/process_facts.hpp>
#include <mitosis/fork/user/sched_attr.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// What a clone may reset (SCHED_RESET_ON_FORK): asked of the thread itself. `tid` of any process.
inline Result<void> read_scheduler(pid_t tid, descriptor::SchedulingRecord& to) noexcept {
  SchedAttr attr;
  if (::syscall(SYS_sched_getattr, tid, &attr, sizeof attr, 0) != 0) {
    return Error(Errc::system_call_failed, "sched_getattr", errno).in("read its scheduling");
  }
  to.policy = attr.policy;
  to.nice = ::getpriority(PRIO_PROCESS, static_cast<id_t>(tid));  // real-time ones have one too
  to.priority = attr.priority;
  to.flags = attr.flags;
  to.runtime_ns = attr.runtime;
  to.deadline_ns = attr.deadline;
  to.period_ns = attr.period;
  return {};
}

/// What a clone inherits: the thread or its copy may be asked. After read_scheduler.
inline Result<void> read_placement(pid_t tid, descriptor::SchedulingRecord& to) noexcept {
  const long priority = ::syscall(SYS_ioprio_get, ioprio_who_process, tid);
  to.io_priority = priority < 0 ? 0 : static_cast<std::uint32_t>(priority);
  if (to.io_priority == default_io_priority(to.nice)) to.io_priority = 0;
  if (::syscall(SYS_sched_getaffinity, tid, sizeof to.cpus, to.cpus) < 0) {
    return Error(Errc::system_call_failed, "sched_getaffinity", errno).in("read its scheduling");
  }
  long bound = 0;
  for (const std::uint64_t word : to.cpus) bound += std::popcount(word);
  if (bound >= ::sysconf(_SC_NPROCESSORS_ONLN)) {  // to none: in a child too, however many it has
    std::fill(std::begin(to.cpus), std::end(to.cpus), ~std::uint64_t{0});
  }
  return {};
}

/// The signals of `facts.pending_signals`, with what can be known of each: of a signal of one of
/// its timers, that; else no more than the kernel tells when it has run out of memory for it.
/// `of_thread`: the signals that wait for the thread, not for the process.
inline std::vector<descriptor::PendingSignalRecord> pending_signals(
    std::uint64_t pending, std::uint64_t of_thread,
    const std::vector<descriptor::TimerRecord>& timers) {
  std::vector<descriptor::PendingSignalRecord> records;
  for (std::uint32_t signal = 1; signal <= 64; ++signal) {
    if ((pending >> (signal - 1) & 1) == 0) continue;
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    siginfo_t info;
    std::memset(&info, 0, sizeof info);
    info.si_signo = static_cast<int>(signal);
    info.si_code = SI_USER;
    for (const descriptor::TimerRecord& timer : timers) {
      if (timer.signal != signal) continue;
      info.si_code = SI_TIMER;
      info.si_timerid = timer.id;
      std::memcpy(&info.si_value, &timer.value, sizeof timer.value);
    }
    descriptor::PendingSignalRecord record = {};
    record.thread = (of_thread >> (signal - 1) & 1) != 0 ? 0 : -1;
    record.signal = signal;
    static_assert(sizeof info == sizeof record.info);
    std::memcpy(record.info, &info, sizeof info);
    records.push_back(record);
  }
  return records;
}

/// Joins what the process's list says its timers do with when each of them fires.
inline Result<void> add_timers(std::vector<descriptor::TimerRecord> timers,
                               const local::ProcessFacts& seen, DescriptorBuilder& builder) {
  if (seen.timer_count > local::ProcessFacts::max_timers ||
      timers.size() > local::ProcessFacts::max_timers) {
    return Error(Errc::limit_exceeded, "it has more than 64 POSIX timers").in("check timers");
  }
  for (descriptor::TimerRecord& timer : timers) {
    const auto* const end = seen.timers + seen.timer_count;
    const auto* const state = std::find_if(
        seen.timers, end, [&](const local::TimerState& s) { return s.id == timer.id; });
    if (state == end) {
      return detail::refuse_timer(timer.id, "could not be read: it needs /proc where it runs");
    }
    timer.remaining_ns = state->remaining_ns;
    timer.interval_ns = state->interval_ns;
  }
  builder.timers = std::move(timers);
  return {};
}

/// `process` is an open /proc/PID of the process or of its copy.
inline Result<void> add_process_attributes(int process, const local::ProcessFacts& seen,
                                           DescriptorBuilder& builder) {
  descriptor::ProcessRecord record = {};
  std::copy(seen.intervals, seen.intervals + 3, record.timers);
  record.personality = seen.personality;
  record.securebits = seen.securebits;
  record.membarrier = seen.membarrier;
  record.flags = (seen.no_new_privs != 0 ? descriptor::process_no_new_privs : 0u) |
                 (seen.dumpable == 1 ? descriptor::process_dumpable : 0u) |
                 (seen.no_thp != 0 ? descriptor::process_no_thp : 0u) |
                 (seen.is_subreaper != 0 ? descriptor::process_subreaper : 0u);
  const Result<std::vector<char>> text = read_at(process, "oom_score_adj", 64);
  if (!text) return text.error();
  std::string_view line = view(*text);
  record.oom_score_adj = number<std::int32_t>(take_until(line, '\n')).value_or(0);
  builder.process.push_back(record);
  return {};
}

}  // namespace mitosis::capture
