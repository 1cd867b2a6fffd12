// SPDX-License-Identifier: MIT
// System calls without libc, x86-64. World: user.
// The shadow runs in a copy of an arbitrary program and must not touch that program's libc state:
// errno, stdio, the allocator. RESTORE's launcher uses them for the same reason.
#pragma once

#include <sys/syscall.h>

#include <type_traits>

namespace mitosis::arch {

namespace detail {
template <class T>
inline long word([[maybe_unused]] T value) noexcept {
  if constexpr (std::is_null_pointer_v<T>) {
    return 0;
  } else if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<long>(value);
  } else {
    return static_cast<long>(value);
  }
}
}  // namespace detail

/// The kernel's answer as it is: a value, or -errno. Missing arguments are 0. Always inlined, so
/// that a new process may return from clone() on a copied stack without a frame in between.
template <class... Args>
requires(sizeof...(Args) <= 6)
    [[gnu::always_inline]] inline long raw_syscall(long number, Args... args) noexcept {
  const long words[6] = {detail::word(args)...};
  register long r10 asm("r10") = words[3];
  register long r8 asm("r8") = words[4];
  register long r9 asm("r9") = words[5];
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(words[0]), "S"(words[1]), "d"(words[2]), "r"(r10), "r"(r8),
                 "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

}  // namespace mitosis::arch
