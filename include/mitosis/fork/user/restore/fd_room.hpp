// SPDX-License-Identifier: MIT
// FdRoom: numbers above all that the child uses, for the launcher's own descriptors. World: user.
// Nothing of the caller's is closed or replaced until nothing can fail any more; until then the
// child's files wait up there.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/files/payload.hpp>
#include <mitosis/fork/user/files/watches.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <algorithm>
#include <cerrno>

namespace mitosis::restore {

class FdRoom {
 public:
  /// `lowest`: what is below is spoken for.
  explicit FdRoom(const DescriptorView& view, int lowest = 3) : first_(lowest) {
    for (const descriptor::FileRecord& file : view.files()) {
      first_ = std::max(first_, file.fd + 1);
      if (descriptor::FileKind{file.kind} != descriptor::FileKind::epoll) continue;
      // A number that is closed by now, but that an epoll set knows a file by.
      const auto set = files::decode<files::Epoll>(view.payload(file));
      if (!set) continue;
      for (const files::EpollEntry& entry : set->entries) {
        if (entry.number <= descriptor::max_fd) first_ = std::max(first_, entry.number + 1);
      }
    }
  }

  /// Above all of the child's.
  [[nodiscard]] int first() const noexcept { return first_; }
  /// Moves a descriptor above the child's, close-on-exec. Errors name `about`.
  Result<UniqueFd> raise(UniqueFd fd, const char* about) const noexcept {
    if (fd.get() >= first_) return fd;
    return raised_copy(fd.get(), first_, about);
  }
  /// A copy high up, where programs hardly look: below the usual limit of 1024, if there is room.
  Result<UniqueFd> copy_high(int fd, const char* about) const noexcept {
    rlimit limit = {};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = 1024;
    const int high = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1024)) - 16;
    if (Result<UniqueFd> copy = raised_copy(fd, std::max(high, first_), about); copy) return copy;
    return raised_copy(fd, first_, about);
  }

 private:
  static Result<UniqueFd> raised_copy(int fd, int lowest, const char* about) noexcept {
    const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
    if (copy >= 0) return UniqueFd(copy);
    // EINVAL: the soft limit on open files is below the child's highest number.
    const bool limit = errno == EMFILE || errno == EINVAL;
    return Error(limit ? Errc::limit_exceeded : Errc::system_call_failed, about, errno)
        .in("keep a descriptor; raise the limit on open files (ulimit -n)");
  }
  int first_;
};

}  // namespace mitosis::restore
