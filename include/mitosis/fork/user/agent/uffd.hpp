// SPDX-License-Identifier: MIT
// Uffd: one child's userfaultfd, as its pager uses it. World: user.
// Source of the rules: Linux Documentation/admin-guide/mm/userfaultfd.rst and fs/userfaultfd.c.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/platform.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

// Linux 6.6; Debian 12's headers are of 6.1.
#ifndef UFFDIO_POISON
#define UFFD_FEATURE_POISON (1 << 14)
struct uffdio_poison {
  struct uffdio_range range;
  __u64 mode;
  __s64 updated;
};
#define UFFDIO_POISON _IOWR(UFFDIO, 0x08, struct uffdio_poison)
#endif

namespace mitosis::agent {

/// What a full userfaultfd must be able to do for us on any supported kernel (6.1 on).
inline constexpr std::uint64_t uffd_features =
    UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
    UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_MINOR_SHMEM |
    UFFD_FEATURE_THREAD_ID;

/// What a stranger hands over may be another file that takes our ioctls and never answers them, as
/// one of FUSE can.
inline bool is_userfaultfd(int fd) noexcept {
  constexpr char wanted[] = "anon_inode:[userfaultfd]";
  char path[32], link[sizeof wanted] = {};
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return ::readlink(path, link, sizeof link) == ssize_t{sizeof wanted - 1} &&
         std::strcmp(link, wanted) == 0;
}

/// Enables a fresh userfaultfd. `poison` says whether UFFDIO_POISON is there (Linux 6.6 on).
/// EVENT_FORK needs CAP_SYS_PTRACE of the caller, hence the agent does this, not the child.
inline Result<bool> enable(int uffd) noexcept {
  if (!is_userfaultfd(uffd)) {
    return Error(Errc::bad_message, "not a userfaultfd").in("enable userfaultfd");
  }
  // The set of features a kernel has is only told by a failing UFFDIO_API on a second descriptor,
  // so: ask for all, and on EINVAL for all but the newest.
  for (const bool poison : {true, false}) {
    uffdio_api api = {};
    api.api = UFFD_API;
    api.features = uffd_features | (poison ? std::uint64_t{UFFD_FEATURE_POISON} : 0);
    if (::ioctl(uffd, UFFDIO_API, &api) == 0) return poison;
    if (errno == EPERM) {
      return Error(Errc::missing_privilege, "the agent needs CAP_SYS_PTRACE", EPERM)
          .in("enable userfaultfd");
    }
    if (errno != EINVAL) break;
  }
  return Error(Errc::system_call_failed, "UFFDIO_API", errno).in("enable userfaultfd");
}

/// The next event, if there is one; never waits, whatever the descriptor's flags say: they are
/// shared with the child, which may change them, and a pager that waits for one child serves none.
inline bool read_event(int uffd, uffd_msg& into) noexcept {
  iovec part = {&into, sizeof into};
  const ssize_t n = ::preadv2(uffd, &part, 1, -1, RWF_NOWAIT);
  if (n >= 0 || errno != EOPNOTSUPP) return n == ssize_t{sizeof into};
  pollfd ready = {uffd, POLLIN, 0};  // before Linux 6.10
  return ::poll(&ready, 1, 0) == 1 && (ready.revents & POLLIN) != 0 &&
         ::read(uffd, &into, sizeof into) == ssize_t{sizeof into};
}

/// The ioctls that change a child's memory, with the kernel's answers in the engine's words.
/// Not owning; any thread, but see `again`.
class Uffd {
 public:
  explicit Uffd(int fd) noexcept : fd_(fd) {}

  InstallResult copy(PageRange to, const std::uint8_t* bytes) const noexcept {
    uffdio_copy c = {};
    c.dst = address(to.first);
    c.src = reinterpret_cast<std::uint64_t>(bytes);
    c.len = to.bytes();
    return certain([&] {
      c.copy = 0;
      const int r = ::ioctl(fd_, UFFDIO_COPY, &c);
      return answer(r, to, c.copy);
    });
  }
  InstallResult zero(PageRange to) const noexcept {
    uffdio_zeropage z = {};
    z.range = range(to);
    const int r = ::ioctl(fd_, UFFDIO_ZEROPAGE, &z);
    return answer(r, to, z.zeropage);
  }
  /// Maps pages that the memfd behind the mapping already holds.
  InstallResult map(PageRange to) const noexcept {
    uffdio_continue c = {};
    c.range = range(to);
    return certain([&] {
      c.mapped = 0;
      const int r = ::ioctl(fd_, UFFDIO_CONTINUE, &c);
      return answer(r, to, c.mapped);
    });
  }
  /// Touching these pages raises SIGBUS from now on. Where they have come meanwhile, or their
  /// mapping changes just now, who waits is woken instead and faults again if it must. False where
  /// the kernel can't.
  bool poison(PageRange to) const noexcept {
    uffdio_poison p = {};
    p.range = range(to);
    if (::ioctl(fd_, UFFDIO_POISON, &p) == 0) return true;
    if (errno != EEXIST && errno != EAGAIN && errno != ENOENT && errno != ESRCH) return false;
    wake(to);
    return true;
  }
  void wake(PageRange to) const noexcept {
    uffdio_range r = range(to);
    (void)::ioctl(fd_, UFFDIO_WAKE, &r);  // fails only for a range that is out of the task's
  }
  /// Wakes every thread that sleeps in a fault; each faults again.
  void wake_all() const noexcept {
    wake({PageNumber{16}, (std::uint64_t{1} << 35) - 17});  // all below TASK_SIZE of 47 bits
  }
  /// False once the address space is gone (exit or execve).
  [[nodiscard]] bool alive() const noexcept {
    uffdio_zeropage z = {};
    z.range = {address(PageNumber{16}), page_size};
    // Nothing of ours is registered that low: a live space answers ENOENT, a dead one ESRCH.
    return ::ioctl(fd_, UFFDIO_ZEROPAGE, &z) == 0 || errno != ESRCH;
  }

 private:
  /// "Not mapped" is only believed at the second time. The kernel (since 6.9) looks for changes
  /// that nobody has read the event of at the beginning of a call, then for the mapping: where
  /// mremap(2) comes in between, the page has moved, and forgetting it would make it zeros at its
  /// new place. By the next call that change shows as `again`.
  template <class Call>
  static InstallResult certain(Call call) noexcept {
    const InstallResult first = call();
    return first.status == Install::unmapped ? call() : first;
  }
  static uffdio_range range(PageRange r) noexcept { return {address(r.first), r.bytes()}; }
  static InstallResult answer(int r, PageRange to, std::int64_t done_bytes) noexcept {
    if (r == 0) return {Install::done, to.count};
    const int err = errno;
    const std::uint64_t pages =
        done_bytes > 0 ? static_cast<std::uint64_t>(done_bytes) >> page_shift : 0;
    switch (err) {
      case EAGAIN:
        return {Install::again, pages};
      case EEXIST:
        return {Install::exists, pages};
      case ENOENT:
        return {to.count > 1 ? Install::split : Install::unmapped, pages};
      case ESRCH:
        return {Install::gone, pages};
      default:
        return {Install::failed, pages};
    }
  }
  int fd_;
};

}  // namespace mitosis::agent
