// SPDX-License-Identifier: MIT
// The clock of the tcp fabric and of every deadline in it: CLOCK_MONOTONIC. World: user.
#pragma once

#include <time.h>

#include <mitosis/net/fabric.hpp>

#include <cstdint>

namespace mitosis::tcp {

inline constexpr std::uint64_t nanoseconds_per_ms = 1'000'000;

/// Now, in nanoseconds of CLOCK_MONOTONIC.
[[nodiscard]] inline Time monotonic_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return Time{static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
              static_cast<std::uint64_t>(now.tv_nsec)};
}

/// `ms` milliseconds from now.
[[nodiscard]] inline Time deadline_in(std::uint64_t ms) noexcept {
  return monotonic_now() + ms * nanoseconds_per_ms;
}

/// What poll(2) and epoll_wait(2) take: the milliseconds until `deadline`, rounded up, at least 0
/// and at most an hour (the caller looks at the clock again afterwards).
[[nodiscard]] inline int timeout_ms(Time deadline, Time now) noexcept {
  if (deadline <= now) return 0;
  const std::uint64_t left = static_cast<std::uint64_t>(deadline) - static_cast<std::uint64_t>(now);
  const std::uint64_t ms = (left + nanoseconds_per_ms - 1) / nanoseconds_per_ms;
  constexpr std::uint64_t hour = 3'600'000;
  return static_cast<int>(ms < hour ? ms : hour);
}

}  // namespace mitosis::tcp
