// SPDX-License-Identifier: MIT
// The code that stands in for a vdso's functions where the kernel is another. World: user, x86-64
// only. Sources: Linux arch/x86/entry/vdso/vdso.lds.S (the names), the System V ABI.
#pragma once

#include <asm/unistd.h>

#include <mitosis/base/span.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace mitosis::arch {

/// What `write_jump` and `write_vdso_stub` need at most.
inline constexpr std::size_t vdso_jump_bytes = 13;

/// Writes a jump to anywhere, by a register that no argument is in. `at` has room for it.
inline void write_jump(std::uint64_t target, std::uint8_t* at) noexcept {
  constexpr std::uint8_t move_r11[] = {0x49, 0xbb}, jump_r11[] = {0x41, 0xff, 0xe3};
  std::memcpy(at, move_r11, 2);
  std::memcpy(at + 2, &target, 8);
  std::memcpy(at + 10, jump_r11, 3);
}

/// Whether a vdso's function of that name does no more than a system call, to its caller. The state
/// that a caller hands to getrandom is of its kernel's layout: another one must not use it.
inline bool is_vdso_call(std::string_view name, std::uint32_t& number) noexcept {
  struct Call {
    std::string_view name;
    std::uint32_t number;
  };
  constexpr Call calls[] = {{"clock_gettime", __NR_clock_gettime},
                            {"gettimeofday", __NR_gettimeofday},
                            {"time", __NR_time},
                            {"getcpu", __NR_getcpu},
                            {"clock_getres", __NR_clock_getres},
                            {"getrandom", __NR_getrandom}};
  for (const Call& call : calls) {
    if (call.name != name) continue;
    number = call.number;
    return true;
  }
  return false;
}

/// Whether the function must make its system call even where this kernel's vdso has it.
inline bool keeps_kernel_state(std::string_view name) noexcept {
  return name == "getrandom";
}

/// Writes a function that makes the system call; one that no system call does returns -ENOSYS.
inline void write_vdso_stub(std::string_view name, std::uint8_t* at) noexcept {
  std::uint32_t number = 0;
  if (is_vdso_call(name, number)) {
    constexpr std::uint8_t syscall_return[] = {0x0f, 0x05, 0xc3};
    at[0] = 0xb8;  // mov $number, %eax
    std::memcpy(at + 1, &number, 4);
    std::memcpy(at + 5, syscall_return, 3);
    return;
  }
  constexpr std::uint8_t not_there[] = {0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, 0xc3};
  std::memcpy(at, not_there, sizeof not_there);  // mov $-38, %rax; ret
}

}  // namespace mitosis::arch
