// SPDX-License-Identifier: MIT
// Hooks: what a program wants done around a prepare, as pthread_atfork(3) does for fork.
// World: user. All children of a parent wake with the same memory: the same random numbers to come,
// the same names, the same connections (which are not theirs). Here a program renews them.
#pragma once

#include <algorithm>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace mitosis {

/// Each may be empty. They run on the thread that prepares, may register and remove hooks, and must
/// not throw.
struct ForkCallbacks {
  std::function<void()> before;  ///< before a prepare: in reverse order of registration
  std::function<void()> parent;  ///< after it, also after one that failed: in order
  std::function<void()> child;   ///< in each child, before prepare returns there: in order
};

namespace client {

/// This process's registered callbacks. Thread-safe.
class Hooks {
 public:
  /// A number that none has had before, for `remove`.
  int add(ForkCallbacks callbacks) {
    const std::lock_guard lock(mutex_);
    entries_.push_back({++last_, std::move(callbacks)});
    return last_;
  }
  /// False where there is none of that number. One that is running now runs to its end.
  bool remove(int number) {
    const std::lock_guard lock(mutex_);
    return std::erase_if(entries_, [&](const Entry& entry) { return entry.number == number; }) > 0;
  }

  void run_before() const {
    std::vector<Entry> all = copy();
    std::reverse(all.begin(), all.end());
    run(all, &ForkCallbacks::before);
  }
  void run_parent() const { run(copy(), &ForkCallbacks::parent); }
  void run_child() const { run(copy(), &ForkCallbacks::child); }

 private:
  struct Entry {
    int number;
    ForkCallbacks callbacks;
  };
  /// They run without the lock: they may come back here.
  std::vector<Entry> copy() const {
    const std::lock_guard lock(mutex_);
    return entries_;
  }
  static void run(const std::vector<Entry>& entries,
                  std::function<void()> ForkCallbacks::*which) noexcept {
    for (const Entry& entry : entries) {
      if (entry.callbacks.*which) (entry.callbacks.*which)();
    }
  }
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  int last_ = 0;
};

inline Hooks& hooks() {
  static Hooks all;
  return all;
}

}  // namespace client

/// Callbacks that are registered as long as this lives; move-only. For good: `release`.
class [[nodiscard]] ForkHooks {
 public:
  explicit ForkHooks(ForkCallbacks callbacks)
      : number_(client::hooks().add(std::move(callbacks))) {}
  ForkHooks(ForkHooks&& other) noexcept : number_(std::exchange(other.number_, 0)) {}
  ForkHooks& operator=(ForkHooks&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ForkHooks(const ForkHooks&) = delete;
  ForkHooks& operator=(const ForkHooks&) = delete;
  ~ForkHooks() {
    if (number_ != 0) client::hooks().remove(number_);
  }
  void release() noexcept { number_ = 0; }

 private:
  int number_;
};

}  // namespace mitosis
