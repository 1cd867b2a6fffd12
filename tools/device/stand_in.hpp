// SPDX-License-Identifier: MIT
// The stand-in: what a program has open instead of the device. World: user.
// It is /dev/null with flags that make no sense there, and so is told from any other /dev/null by
// asking the kernel: a table of descriptors would have to follow dup, fork, exec and resume.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <cstring>

namespace mitosis::device {

/// The device that the original's module makes.
inline constexpr const char* path = "/dev/mitosis-syscalls";

inline bool is_path(const char* name) noexcept {
  return name != nullptr && std::strcmp(name, path) == 0;
}

inline constexpr const char* stand_in = "/dev/null";
inline constexpr int stand_in_flags = O_RDWR | O_APPEND | O_NONBLOCK | O_SYNC;

/// Whether `fd` is a stand-in. Leaves errno alone.
inline bool is_stand_in(int fd) noexcept {
  const int saved = errno;
  struct stat is = {};
  const bool null = ::fstat(fd, &is) == 0 && S_ISCHR(is.st_mode) && is.st_rdev == makedev(1, 3);
  const int flags = null ? ::fcntl(fd, F_GETFL) : -1;
  errno = saved;
  return flags >= 0 && (flags & stand_in_flags) == stand_in_flags;
}

}  // namespace mitosis::device
