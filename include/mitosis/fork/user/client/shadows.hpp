// SPDX-License-Identifier: MIT
// Shadows: the pids of this process's shadows, until they are reaped. World: user.
// A shadow is a child with exit signal 0, so that the program's own waitpid(-1) never sees it;
// therefore the library must bury it. It ends by itself when the agent drops its lifeline.
#pragma once

#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>

namespace mitosis::client {

/// Lock-free, as Connections. What a forked child inherits here are not its children: reaping them
/// fails with ECHILD and forgets them.
class Shadows {
 public:
  /// More prepared handlers of one process at a time are refused.
  static constexpr std::size_t capacity = 256;

  /// True where one more can be remembered.
  [[nodiscard]] bool room() const noexcept {
    for (const std::atomic<pid_t>& slot : pids_) {
      if (slot.load() == 0) return true;
    }
    return false;
  }
  void remember(pid_t pid) noexcept {
    for (std::atomic<pid_t>& slot : pids_) {
      pid_t expected = 0;
      if (slot.compare_exchange_strong(expected, pid)) return;
    }
  }
  /// Buries those that have ended; never waits.
  void reap() noexcept {
    for (std::atomic<pid_t>& slot : pids_) {
      const pid_t pid = slot.load();
      if (pid != 0 && bury(pid, WNOHANG)) slot.store(0);
    }
  }
  /// Ends one that is not remembered, and buries it.
  static void kill_now(pid_t pid) noexcept {
    (void)::kill(pid, SIGKILL);
    (void)bury(pid, 0);
  }
  /// In a resumed child: they are another machine's.
  void forget() noexcept {
    for (std::atomic<pid_t>& slot : pids_) slot.store(0);
  }

 private:
  /// True once there is nothing left to bury.
  static bool bury(pid_t pid, int flags) noexcept {
    const int saved = errno;
    pid_t got;
    do {
      got = ::waitpid(pid, nullptr, static_cast<int>(__WCLONE) | flags);
    } while (got < 0 && errno == EINTR);
    const bool gone = got == pid || (got < 0 && errno == ECHILD);
    errno = saved;
    return gone;
  }
  std::array<std::atomic<pid_t>, capacity> pids_ = {};
};

inline Shadows& shadows() noexcept {
  static constinit Shadows all;
  return all;
}

}  // namespace mitosis::client
