// SPDX-License-Identifier: MIT
// CacheBudget: how many bytes all caches of an agent may hold together. World: user.
#pragma once

#include <atomic>
#include <cstdint>

namespace mitosis {

/// Thread-safe, outlives the caches that use it. A cache asks `fits` before it hands out room and
/// charges when a page begins to fill, so pagers that ask at the same moment may exceed the limit
/// by a window of reads each.
class CacheBudget {
 public:
  explicit CacheBudget(std::uint64_t limit_bytes) noexcept : limit_(limit_bytes) {}

  /// Whether `bytes` more are within the limit. A refusal is remembered: see `take_shortage`.
  [[nodiscard]] bool fits(std::uint64_t bytes) noexcept {
    const std::uint64_t used = used_.load(std::memory_order_relaxed);
    if (bytes <= limit_ && used <= limit_ - bytes) return true;
    short_.store(true, std::memory_order_relaxed);
    return false;
  }
  void charge(std::uint64_t bytes) noexcept { used_.fetch_add(bytes, std::memory_order_relaxed); }
  void give_back(std::uint64_t bytes) noexcept {
    used_.fetch_sub(bytes, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t used() const noexcept {
    return used_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  /// Whether anybody was refused since the last call.
  bool take_shortage() noexcept { return short_.exchange(false, std::memory_order_relaxed); }

 private:
  const std::uint64_t limit_;
  std::atomic<std::uint64_t> used_{0};
  std::atomic<bool> short_{false};
};

}  // namespace mitosis
