// SPDX-License-Identifier: MIT
// The peer of prepare: how long plain fork() keeps the calling process. World: user.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <harness/clock.hpp>

#include <cerrno>
#include <optional>

namespace bench {

/// Nanoseconds from the call of fork() to its return in the caller. The child lives until the
/// stamp is taken, or its exit would share the time on a machine of few cores.
inline std::optional<std::int64_t> fork_pause_ns() {
  int hold[2];
  if (::pipe(hold) != 0) return std::nullopt;
  const std::int64_t start = now_ns();
  const int pid = ::fork();
  const std::int64_t end = now_ns();
  if (pid == 0) {
    char byte;
    ::close(hold[1]);
    (void)!::read(hold[0], &byte, 1);
    ::_exit(0);
  }
  ::close(hold[0]);
  ::close(hold[1]);
  if (pid < 0) return std::nullopt;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return end - start;
}

}  // namespace bench
