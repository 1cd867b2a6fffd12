// SPDX-License-Identifier: MIT
// Permitted: which of the parent's attributes the resumer may have. World: user.
// The kernel is asked by trial, in the launcher, and only of what raises a privilege: to undo that
// is to lower it, which is always allowed. What only lowers needs no trial.
#pragma once

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/sched_attr.hpp>
#include <mitosis/mem/descriptor/refuse.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

namespace mitosis::restore {

/// Takes a sentence on what the child lacks of its parent's attributes. May be null.
using Warn = void (*)(const char* sentence);

/// What the restorer is to set; empty: the launcher's own stays.
struct Permitted {
  std::optional<SchedAttr> scheduler;
  std::optional<std::uint32_t> io_priority;
  bool cpus = false;       ///< the mask of the descriptor
  UniqueFd oom_score_adj;  ///< its file, to write the descriptor's into
  bool securebits = false;
  bool locks = false;        ///< to lock the memory that the parent has locked
  rlimit64 lock_limit = {};  ///< then: the launcher's own for it
};

namespace detail {

inline void warn(Warn to, const std::string& sentence) {
  if (to != nullptr) to(sentence.c_str());
}

/// Runs the trial and then the undo; the errno of the trial, or 0.
template <class Trial, class Undo>
int attempt(Trial trial, Undo undo) noexcept {
  if (trial() != 0) return errno;
  (void)undo();
  return 0;
}

/// The number alone: real-time policies have one too, for when they end.
inline void permit_nice(std::int32_t& nice, std::int32_t own, Warn say) {
  if (nice >= own) return;
  const int err = attempt([&] { return ::setpriority(PRIO_PROCESS, 0, nice); },
                          [&] { return ::setpriority(PRIO_PROCESS, 0, own); });
  if (err == 0) return;
  warn(say, "its nice of " + std::to_string(nice) + " is not permitted here (" +
                std::strerror(err) + "): it keeps " + std::to_string(own));
  nice = own;
}

inline void permit_scheduler(const descriptor::SchedulingRecord& want, Permitted& to, Warn say) {
  SchedAttr own;
  if (::syscall(SYS_sched_getattr, 0, &own, sizeof own, 0) != 0) return;
  own.nice = ::getpriority(PRIO_PROCESS, 0);
  constexpr std::uint64_t kept_flags = 7;  // RESET_ON_FORK, RECLAIM, DL_OVERRUN
  own.flags &= kept_flags;
  SchedAttr attr;
  attr.policy = want.policy;
  attr.nice = want.nice;
  attr.priority = want.priority;
  attr.flags = want.flags & kept_flags;
  attr.runtime = want.runtime_ns;
  attr.deadline = want.deadline_ns;
  attr.period = want.period_ns;
  permit_nice(attr.nice, own.nice, say);
  constexpr std::uint32_t deadline_policy = 6;
  if (attr.policy == SCHED_FIFO || attr.policy == SCHED_RR || attr.policy == deadline_policy) {
    SchedAttr trial = attr;
    trial.flags &= ~std::uint64_t{1};  // RESET_ON_FORK could not be undone
    const int err = attempt([&] { return ::syscall(SYS_sched_setattr, 0, &trial, 0); },
                            [&] { return ::syscall(SYS_sched_setattr, 0, &own, 0); });
    if (err != 0) {
      warn(say, "its real-time policy (" + std::to_string(attr.policy) +
                    ") is not permitted here (" + std::strerror(err) + "): it keeps " +
                    std::to_string(own.policy));
      const std::int32_t nice = attr.nice;
      attr = own;
      attr.nice = nice;
    }
  }
  const bool same = own.policy == attr.policy && own.nice == attr.nice &&
                    own.priority == attr.priority && own.flags == attr.flags;
  if (!same) to.scheduler = attr;
}

inline void permit_cpus(const descriptor::SchedulingRecord& want, Permitted& to, Warn say) {
  std::uint64_t own[descriptor::max_cpus / 64] = {}, got[descriptor::max_cpus / 64] = {};
  unsigned wanted = 0, given = 0;
  for (const std::uint64_t word : want.cpus) wanted += static_cast<unsigned>(std::popcount(word));
  if (wanted == 0 || wanted == descriptor::max_cpus) return;  // all that there are
  if (::syscall(SYS_sched_getaffinity, 0, sizeof own, own) < 0) return;
  if (std::memcmp(own, want.cpus, sizeof own) == 0) return;
  const int err = attempt(
      [&] {
        if (::syscall(SYS_sched_setaffinity, 0, sizeof want.cpus, want.cpus) != 0) return -1L;
        return ::syscall(SYS_sched_getaffinity, 0, sizeof got, got) < 0 ? -1L : 0L;
      },
      [&] { return ::syscall(SYS_sched_setaffinity, 0, sizeof own, own); });
  for (const std::uint64_t word : got) given += static_cast<unsigned>(std::popcount(word));
  if (err != 0) {
    warn(say, "none of the CPUs that it was bound to can be had here: it may run on all");
    return;
  }
  if (given < wanted) {
    warn(say, "of the " + std::to_string(wanted) + " CPUs that it was bound to it has " +
                  std::to_string(given) + " here");
  }
  to.cpus = true;
}

inline void permit_io_priority(const descriptor::SchedulingRecord& want, Permitted& to, Warn say) {
  if (want.io_priority == 0) return;
  const long own = ::syscall(SYS_ioprio_get, ioprio_who_process, 0);
  if (own < 0 || static_cast<std::uint32_t>(own) == want.io_priority) return;
  if (want.io_priority >> ioprio_class_shift == ioprio_class_realtime) {
    const int err =
        attempt([&] { return ::syscall(SYS_ioprio_set, ioprio_who_process, 0, want.io_priority); },
                [&] { return ::syscall(SYS_ioprio_set, ioprio_who_process, 0, own); });
    if (err != 0) {
      warn(say, std::string("its real-time I/O priority is not permitted here (") +
                    std::strerror(err) + ")");
      return;
    }
  }
  to.io_priority = want.io_priority;
}

inline void permit_oom_score(std::int32_t want, Permitted& to, Warn say) {
  UniqueFd file(::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC));
  char text[16] = "";
  if (!file || ::pread(file.get(), text, sizeof text - 1, 0) <= 0) return;
  const int own = std::atoi(text);
  if (own == want) return;
  const auto write = [&](int value) {
    const std::string line = std::to_string(value);
    return ::pwrite(file.get(), line.data(), line.size(), 0) < 0 ? -1 : 0;
  };
  if (want < own) {
    if (attempt([&] { return write(want); }, [&] { return write(own); }) != 0) {
      warn(say, "its oom_score_adj of " + std::to_string(want) +
                    " is not permitted here: it keeps " + std::to_string(own));
      return;
    }
  }
  to.oom_score_adj = std::move(file);
}

inline void permit_securebits(std::uint32_t want, Permitted& to, Warn say) {
  const int own = ::prctl(PR_GET_SECUREBITS);
  if (own < 0 || static_cast<std::uint32_t>(own) == want) return;
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  const bool may =
      ::syscall(SYS_capget, &header, data) == 0 && (data[0].effective >> CAP_SETPCAP & 1) != 0;
  // Locked bits cannot be tried: they could not be undone.
  if (!may) {
    warn(say, "its securebits are not permitted here (CAP_SETPCAP)");
    return;
  }
  to.securebits = true;
}

/// As much as the parent has locked, by as much of nothing.
inline void permit_locks(const DescriptorView& view, Permitted& to, Warn say) {
  std::uint64_t bytes = 0;
  for (const descriptor::VmaRecord& vma : view.vmas()) {
    if ((vma.flags & descriptor::vma_locked) != 0) bytes += vma.end - vma.start;
  }
  if (bytes == 0) return;
  const auto limit = [](rlimit64 value) { (void)::setrlimit64(RLIMIT_MEMLOCK, &value); };
  (void)::getrlimit64(RLIMIT_MEMLOCK, &to.lock_limit);
  void* const trial =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (trial != MAP_FAILED) {
    limit({to.lock_limit.rlim_max, to.lock_limit.rlim_max});
    to.locks = ::syscall(SYS_mlock2, trial, bytes, MLOCK_ONFAULT) == 0;
    limit(to.lock_limit);
  }
  if (!to.locks) {
    warn(say, "its " + std::to_string(bytes >> 10) +
                  " KiB of locked memory are not permitted here (" + std::strerror(errno) +
                  "): they are not locked");
  }
  if (trial != MAP_FAILED) (void)::munmap(trial, bytes);
}

}  // namespace detail

/// Asks for each attribute that differs from the launcher's. The launcher is afterwards as before.
inline Permitted ask_what_is_permitted(const DescriptorView& view, Warn say) {
  Permitted permitted;
  if (view.scheduling().size() != 0) {
    const descriptor::SchedulingRecord scheduling = view.scheduling()[0];
    detail::permit_scheduler(scheduling, permitted, say);
    detail::permit_cpus(scheduling, permitted, say);
    detail::permit_io_priority(scheduling, permitted, say);
  }
  if (view.process().size() != 0) {
    const descriptor::ProcessRecord process = view.process()[0];
    detail::permit_oom_score(process.oom_score_adj, permitted, say);
    detail::permit_securebits(process.securebits, permitted, say);
  }
  detail::permit_locks(view, permitted, say);
  return permitted;
}

}  // namespace mitosis::restore
