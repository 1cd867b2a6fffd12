// SPDX-License-Identifier: MIT
// has_seccomp_filters(): does the calling thread run under seccomp? World: user.
// Only its tracer can read them, so such a program is captured by the agent.
#pragma once

#include <sys/prctl.h>

#include <cerrno>

namespace mitosis::client {

/// A filter may forbid the question: that is an answer too. (A kernel without seccomp says EINVAL.)
inline bool has_seccomp_filters() noexcept {
  constexpr int mode_filter = 2;  // SECCOMP_MODE_FILTER
  const int mode = ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
  return mode == mode_filter || (mode < 0 && errno != EINVAL);
}

}  // namespace mitosis::client
