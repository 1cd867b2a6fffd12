// SPDX-License-Identifier: MIT
// Turn: one thread at a time, the others wait no longer than they want to. World: user.
// (std::timed_mutex would do, but ThreadSanitizer does not know the call that it is built on.)
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

namespace mitosis::rpc {

/// A lock with a patience. Not recursive.
class Turn {
 public:
  /// Holds the turn while it lives; move-only.
  class Held {
   public:
    explicit Held(Turn& turn) noexcept : turn_(&turn) {}
    Held(Held&& other) noexcept : turn_(std::exchange(other.turn_, nullptr)) {}
    Held& operator=(Held&&) = delete;
    ~Held() {
      if (turn_ != nullptr) turn_->give();
    }

   private:
    Turn* turn_;
  };

  /// The turn, or nothing where it could not be had in time.
  [[nodiscard]] std::optional<Held> take(std::chrono::milliseconds patience) {
    std::unique_lock lock(mutex_);
    if (!free_.wait_for(lock, patience, [this] { return !taken_; })) return std::nullopt;
    taken_ = true;
    return Held(*this);
  }

 private:
  void give() {
    {
      const std::lock_guard lock(mutex_);
      taken_ = false;
    }
    free_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable free_;
  bool taken_ = false;
};

}  // namespace mitosis::rpc
