// SPDX-License-Identifier: MIT
// Interrupt: turns Ctrl-C, SIGTERM and SIGHUP into a flag, so that everything is unwound. World:
// user.
#pragma once

#include <signal.h>

#include <atomic>

namespace mitosis::tools {

/// While one lives, those signals end no process but make blocking calls fail with EINTR. One at a
/// time.
class Interrupt {
 public:
  Interrupt() noexcept {
    seen_.store(0);
    struct sigaction action = {};
    action.sa_handler = [](int number) { seen_.store(number); };
    for (int i = 0; i < 3; ++i) ::sigaction(signals_[i], &action, &before_[i]);
  }
  ~Interrupt() {
    for (int i = 0; i < 3; ++i) ::sigaction(signals_[i], &before_[i], nullptr);
  }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  /// The signal's number, 0 where none came.
  [[nodiscard]] static int seen() noexcept { return seen_.load(); }

 private:
  static constexpr int signals_[3] = {SIGINT, SIGTERM, SIGHUP};
  static inline std::atomic<int> seen_{0};
  struct sigaction before_[3] = {};
};

}  // namespace mitosis::tools
