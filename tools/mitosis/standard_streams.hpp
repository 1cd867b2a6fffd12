// SPDX-License-Identifier: MIT
// The command's own descriptors 0, 1 and 2: that there are three, and that what was printed came
// out. World: user.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>

#include <cerrno>
#include <cstdio>

namespace mitosis::tools {

/// Opens /dev/null where one of them is closed, before anything else gets its number: a connection
/// to the agent there would be printed into, or become a child's stream. Output is opened for
/// reading, so that what is printed to it fails as it would have. First thing in `main`.
inline void open_missing_streams() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    (void)!::open("/dev/null", fd == STDERR_FILENO ? O_WRONLY : O_RDONLY);  // the lowest: `fd`
  }
}

/// Whether all that was printed on standard output has been taken: system_call_failed.
inline Result<void> flush_output() noexcept {
  const bool failed = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) == 0 && !failed) return {};
  const int err = errno;
  std::clearerr(stdout);
  return Error(Errc::system_call_failed, "standard output", err).in("print");
}

}  // namespace mitosis::tools
