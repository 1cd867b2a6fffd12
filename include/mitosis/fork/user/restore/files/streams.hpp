// SPDX-License-Identifier: MIT
// open_terminal(), open_dropped(): what the resumer gives, and what nobody can. World: user.
#pragma once

#include <sys/socket.h>

#include <mitosis/fork/user/restore/files/opening.hpp>

namespace mitosis::restore {

/// The resumer's terminal: its controlling one, else the one among its standard streams; without
/// any its standard input, or output for what the parent only wrote to.
inline Result<UniqueFd> open_terminal(Opening&, const descriptor::FileRecord& file) {
  const int access = static_cast<int>(file.flags) & O_ACCMODE;
  UniqueFd fd(::open("/dev/tty", access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  for (int stream = 0; !fd && stream <= 2; ++stream) {
    if (::isatty(stream) == 1) fd = open_again(stream, file);
  }
  if (fd) {
    if (Result<void> set = set_flags(fd.get(), file); !set) return set.error();
    return fd;
  }
  const int stream = access == O_WRONLY ? STDOUT_FILENO : STDIN_FILENO;
  fd = UniqueFd(::fcntl(stream, F_DUPFD_CLOEXEC, 3));
  if (!fd) return cannot_make(file, "a terminal, and the resumer has none", errno);
  return fd;
}

/// A socket whose peer has closed: it holds the number, reads as ended, and refuses all else. A
/// closed number would be given to the next file that the child opens.
inline Result<UniqueFd> open_dropped(Opening&, const descriptor::FileRecord& file) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return cannot_make(file, "socketpair", errno);
  }
  ::close(ends[1]);
  return UniqueFd(ends[0]);
}

}  // namespace mitosis::restore
