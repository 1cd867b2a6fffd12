// SPDX-License-Identifier: MIT
// call_behind_restart(): which system call a thread is in that shows as restart_syscall(2), x86-64.
// World: user. A wait with a timeout that was interrupted once (by an earlier capture, a debugger,
// SIGSTOP) goes on under that number; its own is in the kernel only, where a copy has none of it.
// Sources: Linux kernel/sys_ni.c has no other users of restart_block than fs/select.c (poll),
// kernel/time/{hrtimer,posix-timers,alarmtimer}.c (nanosleep, clock_nanosleep) and
// kernel/futex/waitwake.c; the arguments are still in their registers.
#pragma once

#include <sys/syscall.h>

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/arch/x86_64/trace_registers.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mitosis::arch {

/// So many bytes of code before the instruction are looked at.
inline constexpr std::size_t code_before_call = 48;

inline bool is_in_restarted_call(const Registers& r) noexcept {
  return r[reg_orig_rax] == SYS_restart_syscall;
}

namespace detail {

inline constexpr std::array<std::uint64_t, 4> restartable = {SYS_nanosleep, SYS_futex,
                                                             SYS_clock_nanosleep, SYS_poll};

/// How much speaks for a call but its arguments.
enum class Told : std::uint8_t { nothing, by_code };

/// Whether the registers can be that call's arguments. The word that a futex waits at may have
/// changed since the wait was interrupted: that speaks against the call only where nothing else
/// speaks for it. Entered again it then returns EAGAIN, as the restart itself would have.
template <class Memory>
bool fits(std::uint64_t number, const Registers& r, const Memory& memory,
          Told told = Told::nothing) {
  constexpr std::uint64_t lowest = 1u << 16;  // vm.mmap_min_addr: no pointer is below
  const auto is_pointer = [](std::uint64_t value) { return value >= lowest; };
  const auto is_int = [](std::uint64_t value) {
    return value >> 32 == 0 || value >> 32 == 0xffff'ffff;
  };
  const auto word = [&r](Register which) { return static_cast<std::uint32_t>(r[which]); };
  switch (number) {
    case SYS_poll: {
      return is_int(r[reg_rdx]) && word(reg_rsi) < (1u << 20) &&
             (word(reg_rsi) == 0 || is_pointer(r[reg_rdi]));
    }
    case SYS_nanosleep:
      return memory.is_time(r[reg_rdi]) && (r[reg_rsi] == 0 || is_pointer(r[reg_rsi]));
    case SYS_futex: {
      constexpr std::uint32_t flags = 128 | 256;  // FUTEX_PRIVATE_FLAG, FUTEX_CLOCK_REALTIME
      const std::uint32_t what = word(reg_rsi) & ~flags;
      constexpr std::uint32_t wait = 0, wait_bitset = 9;
      return (what == wait || what == wait_bitset) && is_pointer(r[reg_rdi]) &&
             r[reg_rdi] % 4 == 0 && memory.is_time(r[reg_r10]) &&
             (told == Told::by_code || memory.holds(r[reg_rdi], word(reg_rdx)));
    }
    case SYS_clock_nanosleep: {
      const auto clock = static_cast<std::int32_t>(word(reg_rdi));  // negative: a process's
      return is_int(r[reg_rdi]) && clock < 16 && word(reg_rsi) == 0 && memory.is_time(r[reg_rdx]);
    }
    default:
      return false;
  }
}

}  // namespace detail

/// `before`: the code before the thread's system call instruction, as much as could be read. What
/// the nearest "mov $number, %eax" says, if the arguments fit; else the one call that they fit,
/// where a timespec that is there weighs more than two small numbers, which are all of poll's. 0
/// where that is not known. `memory` is the thread's: is_time(address) says whether a time that can
/// be waited for may be there, holds(address, value) whether these 32 bits are.
template <class Memory>
std::uint64_t call_behind_restart(const Registers& r, Bytes before, const Memory& memory) {
  constexpr std::uint8_t mov_eax = 0xb8;
  for (std::size_t at = before.size(); at-- > 0;) {
    if (before[at] != mov_eax || before.size() - at < 5) continue;
    std::uint32_t number = 0;
    std::memcpy(&number, before.data() + at + 1, sizeof number);
    for (const std::uint64_t call : detail::restartable) {
      if (number == call && detail::fits(call, r, memory, detail::Told::by_code)) return call;
    }
  }
  std::uint64_t only = 0;
  for (const std::uint64_t call : detail::restartable) {
    if (!detail::fits(call, r, memory)) continue;
    // A poll that is none would write where its array is.
    if (call == SYS_poll &&
        (only != 0 || detail::fits(SYS_futex, r, memory, detail::Told::by_code)))
      return only;
    if (only != 0) return 0;
    only = call;
  }
  return only;
}

}  // namespace mitosis::arch
