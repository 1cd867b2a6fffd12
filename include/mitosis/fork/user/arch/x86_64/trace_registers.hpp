// SPDX-License-Identifier: MIT
// Registers of a traced thread, and what an interrupted system call becomes, x86-64. World: user.
// Sources: Linux arch/x86/kernel/signal.c (arch_do_signal_or_restart), include/linux/errno.h,
// signal(7) "Interruption of system calls and library functions by signal handlers".
#pragma once

#include <sys/syscall.h>

#include <mitosis/fork/user/arch/x86_64/thread_record.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace mitosis::arch {

/// struct user_regs_struct, as PTRACE_GETREGSET gives it for NT_PRSTATUS; indices: enum Register.
using Registers = std::array<std::uint64_t, 27>;

/// The instruction that enters the kernel, as bytes.
inline constexpr std::array<std::uint8_t, 2> syscall_instruction = {0x0f, 0x05};

/// False for a 32-bit program's.
inline bool is_native(const Registers& r) noexcept {
  constexpr std::uint64_t user_code_segment = 0x33;
  return r[reg_cs] == user_code_segment;
}

namespace detail {

/// What a system call returns inside the kernel where it is to be restarted.
enum Restart : std::int64_t {
  restart_sys = -512,     // unless a handler without SA_RESTART has run
  restart_nointr = -513,  // always
  restart_nohand = -514,  // unless a handler has run
  restart_block = -516,   // as restart_syscall, for what is left of its time
};

/// Calls that return EINTR when a tracer stops them, though no signal has come; reads and writes
/// are here for sockets with SO_RCVTIMEO or SO_SNDTIMEO.
inline bool takes_a_stop_for_a_signal(std::uint64_t number) noexcept {
  constexpr long calls[] = {SYS_epoll_wait,
                            SYS_epoll_pwait,
                            441 /* epoll_pwait2 */,
                            SYS_semop,
                            SYS_semtimedop,
                            SYS_rt_sigtimedwait,
                            SYS_io_getevents,
                            333 /* io_pgetevents */,
                            SYS_read,
                            SYS_write,
                            SYS_readv,
                            SYS_writev,
                            SYS_recvfrom,
                            SYS_recvmsg,
                            SYS_recvmmsg,
                            SYS_sendto,
                            SYS_sendmsg,
                            SYS_sendmmsg,
                            SYS_accept,
                            SYS_accept4,
                            SYS_connect,
                            426 /* io_uring_enter */};
  return std::find(std::begin(calls), std::end(calls), static_cast<long>(number)) !=
         std::end(calls);
}

inline bool in_system_call(const Registers& r) noexcept {
  return static_cast<std::int64_t>(r[reg_orig_rax]) >= 0;
}

}  // namespace detail

/// For the thread itself, of a stop that a tracer asked for: an EINTR that only this stop has
/// caused becomes the kernel's own "restart, unless a handler runs first". So a signal that comes
/// during the stop is still seen as it would have been.
inline void undo_interruption(Registers& r) noexcept {
  if (detail::in_system_call(r) && static_cast<std::int64_t>(r[reg_rax]) == -EINTR &&
      detail::takes_a_stop_for_a_signal(r[reg_orig_rax])) {
    r[reg_rax] = static_cast<std::uint64_t>(detail::restart_nohand);
  }
}

/// For a copy of the thread that is set off by rt_sigreturn, where the kernel restarts nothing: the
/// registers with which it enters the interrupted call again. A relative timeout runs anew.
inline Registers restarted(Registers r) noexcept {
  undo_interruption(r);
  if (detail::in_system_call(r)) {
    switch (static_cast<std::int64_t>(r[reg_rax])) {
      case detail::restart_sys:
      case detail::restart_nointr:
      case detail::restart_nohand:
      case detail::restart_block:
        r[reg_rax] = r[reg_orig_rax];
        r[reg_rip] -= syscall_instruction.size();
        break;
      default:
        break;
    }
  }
  r[reg_orig_rax] = ~std::uint64_t{0};
  return r;
}

/// Registers that do a system call with the instruction at `instruction`.
inline Registers calling(Registers r, std::uint64_t instruction, long number,
                         const std::array<std::uint64_t, 6>& arguments) noexcept {
  r[reg_orig_rax] = ~std::uint64_t{0};
  r[reg_rip] = instruction;
  r[reg_rax] = static_cast<std::uint64_t>(number);
  r[reg_rdi] = arguments[0], r[reg_rsi] = arguments[1], r[reg_rdx] = arguments[2];
  r[reg_r10] = arguments[3], r[reg_r8] = arguments[4], r[reg_r9] = arguments[5];
  return r;
}

/// What the system call has returned.
inline std::int64_t returned(const Registers& r) noexcept {
  return static_cast<std::int64_t>(r[reg_rax]);
}

/// At a stop at the entry or exit of a system call: the errno with which call `number` has failed
/// for good, else 0. At the entry the kernel shows ENOSYS.
inline int failed_call(const Registers& r, long number) noexcept {
  const std::int64_t answer = returned(r);
  const bool failed = answer < 0 && answer > detail::restart_sys && answer != -ENOSYS;
  return failed && r[reg_orig_rax] == static_cast<std::uint64_t>(number) ? static_cast<int>(-answer)
                                                                         : 0;
}

/// Registers that enter the remote code for the slot at `slot`, with its last resort at `frame`.
inline Registers entering(Registers r, std::uint64_t code, std::uint64_t slot,
                          std::uint64_t frame) noexcept {
  r[reg_orig_rax] = ~std::uint64_t{0};
  r[reg_rip] = code;
  r[reg_rbx] = slot;
  r[reg_rsp] = frame;
  r[reg_r13] = 0;
  r[reg_eflags] = 0x202;
  return r;
}

/// Copies them to a descriptor's record.
inline void write_registers(const Registers& from, descriptor::ThreadRecord& to) noexcept {
  std::copy(from.begin(), from.end(), to.registers);
}

}  // namespace mitosis::arch
