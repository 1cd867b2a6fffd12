// SPDX-License-Identifier: MIT
// has_seccomp_filters(): does the calling thread run under seccomp? World: user.
// Only its tracer can read them, so such a program is captured by the agent.
#pragma once

#include <sys/prctl.h>

namespace mitosis::client {

/// A filter may forbid the question; then the answer is no, and the agent will see.
inline bool has_seccomp_filters() noexcept {
  constexpr int mode_filter = 2;  // SECCOMP_MODE_FILTER
  return ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == mode_filter;
}

}  // namespace mitosis::client
