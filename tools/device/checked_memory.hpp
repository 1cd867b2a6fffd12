// SPDX-License-Identifier: MIT
// Reads of the caller's memory that may not be there, as the kernel's copy_from_user. World: user.
#pragma once

#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace mitosis::device {

/// False where any of `bytes` at `from` cannot be read.
inline bool copy_from_caller(void* into, const void* from, std::size_t bytes) noexcept {
  const iovec to = {into, bytes};
  const iovec source = {const_cast<void*>(from), bytes};
  return ::process_vm_readv(::getpid(), &to, 1, &source, 1, 0) == static_cast<ssize_t>(bytes);
}

/// A string with its zero, of less than `room` bytes; false where there is none.
inline bool copy_string(char* into, const char* from, std::size_t room) noexcept {
  for (std::size_t i = 0; i < room; ++i) {
    if (!copy_from_caller(into + i, from + i, 1)) return false;
    if (into[i] == '\0') return true;
  }
  return false;
}

}  // namespace mitosis::device
