// SPDX-License-Identifier: MIT
// open_eventfd(), open_timerfd(), open_signalfd(). World: user.
#pragma once

#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>

#include <mitosis/fork/user/files/counters.hpp>
#include <mitosis/fork/user/restore/files/opening.hpp>

namespace mitosis::restore {

inline Result<UniqueFd> open_eventfd(Opening& opening, const descriptor::FileRecord& file) {
  const auto event = payload_of<files::Eventfd>(opening, file);
  if (!event) return event.error();
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | (event->semaphore ? EFD_SEMAPHORE : 0)));
  if (!fd) return cannot_make(file, "an eventfd", errno);
  if (event->count != 0 &&
      ::write(fd.get(), &event->count, sizeof event->count) != ssize_t{sizeof event->count}) {
    return cannot_make(file, "an eventfd with its count", errno);
  }
  if (Result<void> set = set_flags(fd.get(), file); !set) return set.error();
  return fd;
}

namespace detail {
inline timespec timespec_of(std::int64_t ns) noexcept {
  return {ns / 1'000'000'000, ns % 1'000'000'000};
}
}  // namespace detail

inline Result<UniqueFd> open_timerfd(Opening& opening, const descriptor::FileRecord& file) {
  const auto timer = payload_of<files::Timerfd>(opening, file);
  if (!timer) return timer.error();
  if (timer->left_ns < 0 || timer->interval_ns < 0 || timer->expiry_ns < 0) {
    return bad_payload(file, "a negative time");
  }
  const int clock = static_cast<int>(timer->clock);
  UniqueFd fd(::timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!fd) return cannot_make(file, "a timer of its clock", errno);
  if (timer->left_ns != 0) {
    const bool wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM;
    const bool absolute = wall && (timer->flags & TFD_TIMER_ABSTIME) != 0;
    const itimerspec when = {detail::timespec_of(timer->interval_ns),
                             detail::timespec_of(absolute ? timer->expiry_ns : timer->left_ns)};
    const int flags = absolute ? static_cast<int>(timer->flags) : 0;
    if (::timerfd_settime(fd.get(), flags, &when, nullptr) != 0) {
      return cannot_make(file, "a timer of its times", errno);
    }
  }
  constexpr unsigned long set_ticks = _IOW('T', 0, std::uint64_t);  // TFD_IOC_SET_TICKS
  if (timer->ticks != 0 && ::ioctl(fd.get(), set_ticks, &timer->ticks) != 0) {
    return cannot_make(file, "a timer that has expired (CONFIG_CHECKPOINT_RESTORE)", errno);
  }
  if (Result<void> set = set_flags(fd.get(), file); !set) return set.error();
  return fd;
}

inline Result<UniqueFd> open_signalfd(Opening& opening, const descriptor::FileRecord& file) {
  const auto signals = payload_of<files::Signalfd>(opening, file);
  if (!signals) return signals.error();
  UniqueFd fd(static_cast<int>(
      ::syscall(SYS_signalfd4, -1, &signals->mask, sizeof signals->mask, O_CLOEXEC | O_NONBLOCK)));
  if (!fd) return cannot_make(file, "a signalfd", errno);
  if (Result<void> set = set_flags(fd.get(), file); !set) return set.error();
  return fd;
}

}  // namespace mitosis::restore
