// SPDX-License-Identifier: MIT
// CaptureTurns: one capture of a process at a time. World: user.
// A process has one tracer. Two of its threads that prepare at once, or two callers that prepare it
// by its pid, come one after the other.
#pragma once

#include <sys/types.h>

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/parent.hpp>

#include <condition_variable>
#include <mutex>
#include <set>
#include <utility>

namespace mitosis::agent {

/// Thread-safe; must outlive its turns.
class CaptureTurns {
 public:
  /// Whoever holds it may capture that process. Move-only.
  class Turn {
   public:
    Turn(Turn&& other) noexcept : of_(std::exchange(other.of_, nullptr)), pid_(other.pid_) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (of_ != nullptr) of_->give_back(pid_);
    }

   private:
    friend class CaptureTurns;
    Turn(CaptureTurns& of, pid_t pid) noexcept : of_(&of), pid_(pid) {}
    CaptureTurns* of_;
    pid_t pid_;
  };

  /// timed_out where others have it all the while.
  Result<Turn> take(pid_t pid, Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_until(lock, deadline, [&] { return !busy_.contains(pid); })) {
      return Error(Errc::timed_out, "others prepare this process").in("capture");
    }
    busy_.insert(pid);
    return Turn(*this, pid);
  }

 private:
  void give_back(pid_t pid) {
    const std::lock_guard lock(mutex_);
    busy_.erase(pid);
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<pid_t> busy_;
};

}  // namespace mitosis::agent
