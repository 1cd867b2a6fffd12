// SPDX-License-Identifier: MIT
// has_threads(): does the calling process have more threads than the calling one? World: user.
#pragma once

#include <sys/stat.h>

#if __has_include(<sys/single_threaded.h>)  // glibc 2.32 on
#include <sys/single_threaded.h>
#endif

namespace mitosis::client {

/// libc knows of a process that never had any, for nothing; else /proc counts them, in a
/// microsecond. Without /proc the answer is no: the agent will see them, and refuse.
inline bool has_threads() noexcept {
#if __has_include(<sys/single_threaded.h>)
  if (__libc_single_threaded != 0) return false;
#endif
  constexpr nlink_t links_of_empty = 2;  // of the directory itself; a thread's adds one
  struct stat tasks = {};
  return ::stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > links_of_empty + 1;
}

}  // namespace mitosis::client
