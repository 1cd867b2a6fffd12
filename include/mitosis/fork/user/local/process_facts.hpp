// SPDX-License-Identifier: MIT
// ProcessFacts: attributes that a process can only be asked itself. World: user.
// Part of ShadowFacts. Plain bytes; the first half is of the prepared process, whose copy has none
// of it, the second its copy's, which has inherited it.
#pragma once

#include <mitosis/mem/descriptor/attribute_records.hpp>

#include <cstdint>

namespace mitosis::local {

/// The state of one timer_create(2) timer; what it does is in /proc/PID/timers.
struct TimerState {
  std::uint64_t remaining_ns = 0, interval_ns = 0;
  std::int32_t id = 0;
  std::uint32_t reserved = 0;
};

struct ProcessFacts {
  static constexpr std::uint32_t max_timers = 64;
  // Of the process itself, all signals blocked, before the clone.
  descriptor::IntervalTimerRecord intervals[3] = {};
  std::uint64_t pending_signals = 0;  ///< bit n-1 is signal n
  std::uint32_t death_signal = 0;
  std::uint32_t is_subreaper = 0;
  std::uint32_t timer_count = 0;  ///< more than max_timers: the others are not told
  // Of its copy.
  std::uint32_t dumpable = 1;
  TimerState timers[max_timers] = {};
  std::uint64_t timer_slack_ns = 0;
  std::uint32_t personality = 0;
  std::uint32_t securebits = 0;
  std::uint32_t membarrier = 0;  ///< MEMBARRIER_CMD_REGISTER_*
  std::uint32_t no_new_privs = 0;
  std::uint32_t no_thp = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(ProcessFacts) == 48 + 8 + 16 + 64 * 24 + 32);

}  // namespace mitosis::local
