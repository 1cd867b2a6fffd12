// SPDX-License-Identifier: MIT
// The checks of a descriptor's attribute sections. World: any (freestanding).
// As in check_memory.hpp, Errc::ok means fine. All these sections may be missing.
#pragma once

#include <mitosis/mem/descriptor/attribute_records.hpp>
#include <mitosis/mem/descriptor/check_process.hpp>

namespace mitosis::descriptor {

inline constexpr std::size_t max_timers = 4096;
inline constexpr std::size_t max_pending_signals = 65536;
inline constexpr std::size_t max_filters = 65536;
/// So that a time fits a kernel's signed 64 bits of nanoseconds.
inline constexpr std::uint64_t max_timer_us = (~std::uint64_t{0} >> 1) / 1000;
inline constexpr std::uint64_t max_timer_ns = ~std::uint64_t{0} >> 1;

inline Error check_process_attributes(const Sections& s) noexcept {
  if (!s.has(Tag::process)) return {};
  if (s.bytes(Tag::process).size() != sizeof(ProcessRecord)) {
    return refuse("process", "not one record");
  }
  const ProcessRecord p = s.records<ProcessRecord>(Tag::process)[0];
  for (const IntervalTimerRecord& t : p.timers) {
    if (t.remaining_us > max_timer_us || t.interval_us > max_timer_us) {
      return refuse("process.timers", "over 292 years");
    }
  }
  if (p.oom_score_adj < -1000 || p.oom_score_adj > 1000) {
    return refuse("process.oom_score_adj", "not from -1000 to 1000");
  }
  if ((p.flags & ~process_known_flags) != 0) return refuse("process.flags", "unknown flag");
  if (p.reserved != 0) return refuse("process.reserved", "not zero");
  return {};
}

/// After check_threads: one record a thread, or none at all.
inline Error check_scheduling(const Sections& s) noexcept {
  if (!whole<SchedulingRecord>(s.bytes(Tag::scheduling))) {
    return refuse("scheduling", "not whole records");
  }
  const auto all = s.records<SchedulingRecord>(Tag::scheduling);
  if (all.size() != 0 && all.size() != s.records<ThreadRecord>(Tag::threads).size()) {
    return refuse("scheduling", "not one record a thread");
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const SchedulingRecord r = all[i];
    const auto bad = [i](const char* f, const char* why) {
      return refuse(Tag::scheduling, i, f, why);
    };
    if (r.nice < -20 || r.nice > 19) return bad("nice", "not from -20 to 19");
    if (r.priority > 99) return bad("priority", "over 99");
    if (r.death_signal > signals) return bad("death_signal", "no signal");
    if (r.reserved != 0) return bad("reserved", "not zero");
  }
  return {};
}

inline Error check_timers(const Sections& s) noexcept {
  if (!whole<TimerRecord>(s.bytes(Tag::timers))) return refuse("timers", "not whole records");
  const auto all = s.records<TimerRecord>(Tag::timers);
  if (all.size() > max_timers) return refuse("timers", "over 4096");
  std::int64_t last = -1;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const TimerRecord t = all[i];
    const auto bad = [i](const char* f, const char* why) { return refuse(Tag::timers, i, f, why); };
    if (t.id <= last) return bad("id", "not above the previous one");
    last = t.id;
    const bool silent = t.notify == static_cast<std::uint32_t>(TimerNotify::none);
    if (!silent && t.notify != static_cast<std::uint32_t>(TimerNotify::signal) &&
        t.notify != static_cast<std::uint32_t>(TimerNotify::thread_signal)) {
      return bad("notify", "unknown");
    }
    if (!silent && (t.signal == 0 || t.signal > signals)) return bad("signal", "no signal");
    if (t.remaining_ns > max_timer_ns) return bad("remaining_ns", "over 292 years");
    if (t.interval_ns > max_timer_ns) return bad("interval_ns", "over 292 years");
    if (t.reserved != 0) return bad("reserved", "not zero");
  }
  return {};
}

/// After check_threads.
inline Error check_pending_signals(const Sections& s) noexcept {
  if (!whole<PendingSignalRecord>(s.bytes(Tag::pending_signals))) {
    return refuse("pending_signals", "not whole records");
  }
  const auto all = s.records<PendingSignalRecord>(Tag::pending_signals);
  if (all.size() > max_pending_signals) return refuse("pending_signals", "over 65536");
  const auto threads = static_cast<std::int64_t>(s.records<ThreadRecord>(Tag::threads).size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const PendingSignalRecord r = all[i];
    const auto bad = [i](const char* f, const char* why) {
      return refuse(Tag::pending_signals, i, f, why);
    };
    if (r.signal == 0 || r.signal > signals) return bad("signal", "no signal");
    if (r.thread < -1 || r.thread >= threads) return bad("thread", "no such thread");
    std::uint32_t said = 0;
    __builtin_memcpy(&said, r.info, sizeof said);
    if (said != r.signal) return bad("info", "of another signal");
  }
  return {};
}

/// After check_threads. Whether the instructions make sense is the kernel's to say.
inline Error check_filters(const Sections& s) noexcept {
  if (!whole<FilterRecord>(s.bytes(Tag::filters))) return refuse("filters", "not whole records");
  constexpr std::size_t instruction_bytes = 8;
  if (s.bytes(Tag::filter_code).size() % instruction_bytes != 0) {
    return refuse("filter_code", "not whole instructions");
  }
  const std::uint64_t instructions = s.bytes(Tag::filter_code).size() / instruction_bytes;
  const auto all = s.records<FilterRecord>(Tag::filters);
  if (all.size() > max_filters) return refuse("filters", "over 65536");
  const std::size_t threads = s.records<ThreadRecord>(Tag::threads).size();
  std::uint32_t last = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const FilterRecord f = all[i];
    const auto bad = [i](const char* field, const char* why) {
      return refuse(Tag::filters, i, field, why);
    };
    if (f.thread >= threads) return bad("thread", "no such thread");
    if (f.thread < last) return bad("thread", "before the previous one's");
    last = f.thread;
    if ((f.flags & ~filter_known_flags) != 0) return bad("flags", "unknown flag");
    if (f.count == 0 || f.count > max_filter_instructions) return bad("count", "not 1 to 4096");
    if (std::uint64_t{f.first} + f.count > instructions) {
      return bad("count", "past the filter_code section");
    }
  }
  return {};
}

/// After check_threads. Whether there is memory is for whoever writes to it to ask.
inline Error check_held_locks(const Sections& s) noexcept {
  if (!whole<HeldLockRecord>(s.bytes(Tag::held_locks))) {
    return refuse("held_locks", "not whole records");
  }
  const auto all = s.records<HeldLockRecord>(Tag::held_locks);
  if (all.size() > max_held_locks) return refuse("held_locks", "over 4096");
  const std::size_t threads = s.records<ThreadRecord>(Tag::threads).size();
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const HeldLockRecord lock = all[i];
    const auto bad = [i](const char* field, const char* why) {
      return refuse(Tag::held_locks, i, field, why);
    };
    if (lock.thread >= threads) return bad("thread", "no such thread");
    if (lock.address % 4 != 0) return bad("address", "not aligned");
    if (lock.address <= last) return bad("address", "not above the previous one's");
    last = lock.address;
    if (lock.reserved != 0) return bad("reserved", "not zero");
  }
  return {};
}

}  // namespace mitosis::descriptor
