// SPDX-License-Identifier: MIT
// now_ns: CLOCK_MONOTONIC, the same in every process of one kernel, so that a stamp taken by a
// child can be compared with one taken by who resumed it. World: user.
#pragma once

#include <time.h>

#include <cstdint>

namespace bench {

/// Nanoseconds; a vdso call, so that a resumed child needs no page of ours to take a stamp.
inline std::int64_t now_ns() noexcept {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace bench
