// SPDX-License-Identifier: MIT
// UserMemory: a child's memory through its userfaultfd; models ChildMemory. World: user.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/fork/platform.hpp>
#include <mitosis/fork/user/agent/uffd.hpp>
#include <mitosis/mem/page_cache.hpp>

#include <algorithm>
#include <memory>
#include <vector>

namespace mitosis::agent {

/// Which of the parent's pages lie in a mapping of the cache's memfd in its children; the others
/// (the stack) are anonymous there and get copies. Ascending, by the parent's page numbers.
using MemfdRanges = std::vector<PageRange>;

/// Models ChildMemory. Used by the child's pager thread alone. Owns nothing.
class UserMemory {
 public:
  UserMemory(int uffd, bool poison, std::shared_ptr<const MemfdRanges> memfd,
             LocalCache* cache) noexcept
      : uffd_(uffd), poison_(poison), memfd_(std::move(memfd)), cache_(cache) {}

  InstallResult copy_in(PageRange to, const std::uint8_t* bytes) noexcept {
    return uffd_.copy(to, bytes);
  }
  InstallResult zero_in(PageRange to) noexcept { return uffd_.zero(to); }
  InstallResult map_cached(PageRange to, PageNumber source) noexcept {
    if (in_memfd(source)) return uffd_.map(to);
    return uffd_.copy(to, cache_->slot({source, to.count}).data);
  }
  /// Without UFFDIO_POISON (before Linux 6.6) the thread that waits is sent the signal; one that
  /// waits inside a system call does not see it, so the process is ended: a wrong byte is worse.
  void fail(PageNumber page, Errc) noexcept {
    if (poison_ && uffd_.poison({page, 1})) return;
    if (pidfd_ >= 0) ::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
  }
  void wake(PageRange range) noexcept { uffd_.wake(range); }

  /// Whom to end where a page can't be poisoned; borrowed, -1 while unknown.
  void set_pidfd(int pidfd) noexcept { pidfd_ = pidfd; }
  [[nodiscard]] const Uffd& uffd() const noexcept { return uffd_; }

 private:
  [[nodiscard]] bool in_memfd(PageNumber source) const noexcept {
    const auto after = std::upper_bound(
        memfd_->begin(), memfd_->end(), source,
        [](PageNumber page, const PageRange& range) { return page < range.first; });
    return after != memfd_->begin() && std::prev(after)->contains(source);
  }

  Uffd uffd_;
  bool poison_;
  int pidfd_ = -1;
  std::shared_ptr<const MemfdRanges> memfd_;
  LocalCache* cache_;
};
static_assert(ChildMemory<UserMemory>);

}  // namespace mitosis::agent
