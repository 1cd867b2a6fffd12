// SPDX-License-Identifier: MIT
// RefusalLog: logs what strangers can cause at will, a few lines a while. World: user.
// A line for each refused connection would let anybody who reaches the port fill the disk.
#pragma once

#include <spdlog/spdlog.h>

#include <mitosis/base/describe.hpp>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <utility>

namespace mitosis::agent {

/// Thread-safe. In each `window` that begins with a refusal the first `lines` are logged whole; of
/// the rest the next window tells how many there were, and the last one's reason.
class RefusalLog {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::uint32_t lines = 5;
  static constexpr std::chrono::seconds window{10};

  /// `what`: "a connection was refused"; a literal.
  RefusalLog(const char* what, spdlog::level::level_enum level) noexcept
      : what_(what), level_(level) {}

  void add(const Error& why, Clock::time_point now = Clock::now()) {
    const std::lock_guard lock(mutex_);
    flush(now);
    if (in_window_ == 0) window_end_ = now + window;
    if (++in_window_ <= lines) return spdlog::log(level_, "{}: {}", what_, describe(why));
    last_ = why;
  }
  /// Tells of what a window that is over has kept back; to be called now and then.
  void tick(Clock::time_point now = Clock::now()) {
    const std::lock_guard lock(mutex_);
    flush(now);
  }

 private:
  void flush(Clock::time_point now) {
    if (in_window_ == 0 || now < window_end_) return;
    const std::uint64_t kept = std::exchange(in_window_, 0);
    if (kept <= lines) return;
    spdlog::log(level_, "{} {} more times within {} s; the last: {}", what_, kept - lines,
                window.count(), describe(last_));
  }

  const char* const what_;
  const spdlog::level::level_enum level_;
  std::mutex mutex_;
  std::uint64_t in_window_ = 0;
  Clock::time_point window_end_{};
  Error last_;
};

}  // namespace mitosis::agent
