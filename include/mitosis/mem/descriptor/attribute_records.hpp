// SPDX-License-Identifier: MIT
// The records of a process's attributes: timers, pending signals, scheduling. World: any
// (freestanding). Part of the wire format, as records.hpp.
#pragma once

#include <cstdint>

namespace mitosis::descriptor {

/// setitimer(2)'s; all zero: not armed.
struct IntervalTimerRecord {
  std::uint64_t remaining_us, interval_us;
};

enum ProcessFlag : std::uint32_t {
  process_no_new_privs = 1,
  process_dumpable = 2,
  process_no_thp = 4,
  process_subreaper = 8,
};
inline constexpr std::uint32_t process_known_flags = 15;

/// What belongs to the process as a whole, beside MmRecord.
struct ProcessRecord {
  IntervalTimerRecord timers[3];  ///< ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF
  std::uint32_t personality;
  std::int32_t oom_score_adj;
  std::uint32_t securebits;
  std::uint32_t membarrier;  ///< MEMBARRIER_CMD_REGISTER_*, those that it has made
  std::uint32_t flags;       ///< ProcessFlag
  std::uint32_t reserved;
};
static_assert(sizeof(ProcessRecord) == 72);

/// CPUs that an affinity mask can name.
inline constexpr std::uint32_t max_cpus = 1024;

/// sched_setattr(2)'s and more, of the thread of the same index.
struct SchedulingRecord {
  std::uint32_t policy;
  std::int32_t nice;
  std::uint32_t priority;
  std::uint32_t io_priority;  ///< ioprio_set(2)'s; 0: none set
  std::uint64_t flags;        ///< SCHED_FLAG_*
  std::uint64_t runtime_ns, deadline_ns, period_ns;
  std::uint64_t timer_slack_ns;  ///< 0: not known
  std::uint32_t death_signal;    ///< PR_SET_PDEATHSIG; 0: none
  std::uint32_t reserved;
  std::uint64_t cpus[max_cpus / 64];
};
static_assert(sizeof(SchedulingRecord) == 192);

enum class TimerNotify : std::uint32_t { signal = 0, none = 1, thread_signal = 4 };
/// A timer_create(2)'s.
struct TimerRecord {
  std::int32_t id;
  std::int32_t clock;
  std::uint32_t notify;  ///< TimerNotify: SIGEV_*
  std::uint32_t signal;
  std::uint64_t value;                      ///< sigev_value
  std::uint64_t remaining_ns, interval_ns;  ///< 0 remaining: not armed
  std::uint32_t tid;                        ///< thread_signal: ThreadRecord::tid of the receiver
  std::uint32_t reserved;
};
static_assert(sizeof(TimerRecord) == 48);

/// A signal that waits to be delivered, by ascending time of sending.
struct PendingSignalRecord {
  std::int32_t thread;  ///< index into threads, or -1: the process's
  std::uint32_t signal;
  std::uint8_t info[128];  ///< siginfo_t, the kernel's layout
};
static_assert(sizeof(PendingSignalRecord) == 136);

/// A seccomp(2) filter.
struct FilterRecord {
  std::uint32_t thread;  ///< index into threads
  std::uint32_t flags;   ///< SECCOMP_FILTER_FLAG_LOG, SECCOMP_FILTER_FLAG_SPEC_ALLOW
  std::uint32_t first;   ///< its first instruction in filter_code
  std::uint32_t count;   ///< of instructions
};
static_assert(sizeof(FilterRecord) == 16);

/// A mutex that a thread held, and that knows it by its number.
struct HeldLockRecord {
  std::uint64_t address;  ///< where its owner's number is, 32 bits
  std::uint32_t thread;   ///< index into threads
  std::uint32_t reserved;
};
static_assert(sizeof(HeldLockRecord) == 16);
inline constexpr std::size_t max_held_locks = 4096;

inline constexpr std::uint32_t filter_known_flags = 2 | 4;
inline constexpr std::uint32_t max_filter_instructions = 4096;  // BPF_MAXINSNS

}  // namespace mitosis::descriptor
