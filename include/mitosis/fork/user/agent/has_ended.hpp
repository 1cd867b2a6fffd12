// SPDX-License-Identifier: MIT
// has_ended(): whether the process of a pidfd has. World: user.
#pragma once

#include <poll.h>

#include <cerrno>

namespace mitosis::agent::detail {

/// False where it still runs after `milliseconds`; what cannot be opened is gone, and not waited
/// for (poll(2) passes over a negative number, and would wait for its whole time).
inline bool has_ended(int pidfd, int milliseconds = 0) noexcept {
  if (pidfd < 0) return true;
  pollfd end = {pidfd, POLLIN, 0};
  int n = 0;
  while ((n = ::poll(&end, 1, milliseconds)) < 0 && errno == EINTR) {
  }
  return n > 0;
}

}  // namespace mitosis::agent::detail
