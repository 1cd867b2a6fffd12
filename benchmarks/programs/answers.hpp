// SPDX-License-Identifier: MIT
// Lines in, lines out, by system calls alone: a resumed child must not read remote pages of stdio's
// buffers while it is being measured. World: user.
#pragma once

#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace bench {

/// Reads one line of stdin, without its end; false at the end of the input or where it is longer.
inline bool read_line(char* line, std::size_t size) noexcept {
  for (std::size_t at = 0; at < size; ++at) {
    ssize_t n;
    while ((n = ::read(STDIN_FILENO, line + at, 1)) < 0 && errno == EINTR) {
    }
    if (n != 1) return false;
    if (line[at] == '\n') {
      line[at] = '\0';
      return true;
    }
  }
  return false;
}

/// Writes one line to stdout.
[[gnu::format(printf, 1, 2)]] inline void answer(const char* format, ...) noexcept {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  const std::size_t end = std::strlen(line);
  line[end] = '\n';
  (void)!::write(STDOUT_FILENO, line, end + 1);
}

}  // namespace bench
