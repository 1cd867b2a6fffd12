// SPDX-License-Identifier: MIT
// SchedAttr: sched_setattr(2)'s argument, and I/O priorities. World: user.
// <linux/sched/types.h> cannot be included beside libc's <sched.h>.
#pragma once

#include <cstdint>

namespace mitosis {

/// struct sched_attr of Linux 3.14: a later one is longer, and takes this one too.
struct SchedAttr {
  std::uint32_t size = 48;
  std::uint32_t policy = 0;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0, deadline = 0, period = 0;  // ns
};
static_assert(sizeof(SchedAttr) == 48);

inline constexpr int ioprio_who_process = 1;
inline constexpr unsigned ioprio_class_shift = 13;
inline constexpr unsigned ioprio_class_realtime = 1, ioprio_class_best_effort = 2;

/// What ioprio_get(2) tells of a thread of ordinary policy that never set one.
constexpr std::uint32_t default_io_priority(std::int32_t nice) noexcept {
  return ioprio_class_best_effort << ioprio_class_shift | static_cast<std::uint32_t>(nice + 20) / 5;
}

}  // namespace mitosis
