// SPDX-License-Identifier: MIT
// TreeResume: the members of one tree on their way to run, of which none runs before all can.
// World: user.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/image.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// The descriptors of a tree but its root's, in the order of its members that have not ended.
using MemberImages = std::vector<std::shared_ptr<const Image>>;

/// Thread-safe: a thread for each member meets the others here.
class TreeResume {
 public:
  /// `root_pidfd`: the root's launcher, which is ended where a member fails, and with it the pid
  /// namespace of all; not owned.
  TreeResume(std::size_t members, int root_pidfd) noexcept
      : to_come_(members), root_pidfd_(root_pidfd) {}

  /// One is ready, and waits for the others. An error: one of them has failed.
  Result<void> arrive(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (--to_come_ == 0) changed_.notify_all();
    const bool settled =
        changed_.wait_for(lock, patience, [this] { return to_come_ == 0 || !result_; });
    if (!settled) give_up(Error(Errc::timed_out, "its tree").in("resume a tree"));
    return result_;
  }
  /// One will not come: none may run.
  void fail(const Error& why) {
    const std::lock_guard lock(mutex_);
    give_up(why);
  }
  /// The first failure.
  [[nodiscard]] Result<void> result() {
    const std::lock_guard lock(mutex_);
    return result_;
  }

 private:
  void give_up(const Error& why) {
    if (!result_) return;
    result_ = why;
    changed_.notify_all();
    ::syscall(SYS_pidfd_send_signal, root_pidfd_, SIGKILL, nullptr, 0);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t to_come_;
  const int root_pidfd_;
  Result<void> result_;
};

}  // namespace mitosis::agent
