// SPDX-License-Identifier: MIT
// /proc/PID/timers: what a process's timer_create(2) timers do. World: user.
// When they will fire next is not told there: only the process itself can be asked.
#pragma once

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/mem/descriptor/attribute_records.hpp>

#include <algorithm>
#include <string_view>
#include <vector>

namespace mitosis::capture {

namespace detail {

/// "signal/pid.2634", "none/pid.5", "signal/tid.77"; false: of another shape.
inline bool parse_notify(std::string_view text, descriptor::TimerRecord& to) noexcept {
  using descriptor::TimerNotify;
  const std::string_view how = take_until(text, '/');
  const std::string_view whom = take_until(text, '.');
  const bool to_thread = whom == "tid";
  if (how == "none") {
    to.notify = static_cast<std::uint32_t>(TimerNotify::none);
  } else if (how == "signal") {
    to.notify =
        static_cast<std::uint32_t>(to_thread ? TimerNotify::thread_signal : TimerNotify::signal);
  } else {
    return false;
  }
  if (to_thread) to.tid = number<std::uint32_t>(text).value_or(0);
  return true;
}

inline Error refuse_timer(std::int32_t id, std::string_view why) {
  const std::string about = fmt::format("its POSIX timer {} {}", id, why);
  return Error(Errc::unsupported_process, about.c_str()).in("check timers");
}

/// Dynamic clocks: of a device's file, or of the CPU time of a process named by pid.
inline bool names_another(std::int32_t clock) noexcept {
  constexpr std::int32_t own_cpu_time = 7;  // pid 0 in the upper bits
  return clock < 0 && (~(clock >> 3) != 0 || (clock & own_cpu_time) == 3);
}

}  // namespace detail

/// By ascending id, without the times. unsupported_process: one whose clock is not the process's.
inline Result<std::vector<descriptor::TimerRecord>> parse_timers(std::string_view text) {
  std::vector<descriptor::TimerRecord> timers;
  const auto value_of = [](std::string_view line) {
    line = line.substr(line.find(':') + 1);
    while (line.starts_with(' ')) line.remove_prefix(1);
    return line;
  };
  while (!text.empty()) {
    descriptor::TimerRecord timer = {};
    const auto id = number<std::int32_t>(value_of(take_until(text, '\n')));
    std::string_view signal = value_of(take_until(text, '\n'));
    const std::string_view notify = value_of(take_until(text, '\n'));
    const auto clock = number<std::int32_t>(value_of(take_until(text, '\n')));
    const auto signo = number<std::uint32_t>(take_until(signal, '/'));
    const auto value = number(signal.starts_with("0x") ? signal.substr(2) : signal, 16);
    if (!id || !signo || !clock || !detail::parse_notify(notify, timer)) {
      return Error(Errc::unsupported_process, "its list of POSIX timers cannot be read")
          .in("check timers");
    }
    timer.id = *id;
    timer.signal = *signo;
    timer.value = value.value_or(0);  // "(null)" in some kernels
    timer.clock = *clock;
    if (detail::names_another(*clock)) {
      return detail::refuse_timer(*id, "runs on the clock of a device or of another process");
    }
    timers.push_back(timer);
  }
  std::sort(timers.begin(), timers.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return timers;
}

}  // namespace mitosis::capture
