// SPDX-License-Identifier: MIT
// Eventfd, Timerfd, Signalfd: files that are a few numbers. World: user.
#pragma once

#include <cstdint>

namespace mitosis::files {

struct Eventfd {
  std::uint64_t count = 0;
  bool semaphore = false;
  template <class A>
  void fields(A& a) {
    a(count, semaphore);
  }
};

/// `flags` are timerfd_settime(2)'s. An absolute timer of the wall clock keeps its time of expiry;
/// of all others the time that is left counts from the resume.
struct Timerfd {
  std::uint32_t clock = 0;
  std::uint32_t flags = 0;
  std::int64_t left_ns = 0;      ///< until it expires next; 0: disarmed
  std::int64_t interval_ns = 0;  ///< 0: once
  std::int64_t expiry_ns = 0;    ///< on the wall clock; used with an absolute timer of that clock
  std::uint64_t ticks = 0;       ///< expirations that nobody has read
  template <class A>
  void fields(A& a) {
    a(clock, flags, left_ns, interval_ns, expiry_ns, ticks);
  }
};

struct Signalfd {
  std::uint64_t mask = 0;  ///< bit 0 is signal 1
  template <class A>
  void fields(A& a) {
    a(mask);
  }
};

}  // namespace mitosis::files
