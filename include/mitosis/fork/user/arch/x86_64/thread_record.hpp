// SPDX-License-Identifier: MIT
// A saved Context in the descriptor's words: registers and extended state, x86-64. World: user.
// Written by the shadow, hence without libc.
#pragma once

#include <asm/prctl.h>

#include <mitosis/fork/user/arch/x86_64/context.hpp>
#include <mitosis/fork/user/arch/x86_64/syscall.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>

namespace mitosis::arch {

/// Indices into ThreadRecord::registers: struct user_regs_struct's fields in their order.
enum Register : unsigned {
  reg_r15 = 0,
  reg_r14,
  reg_r13,
  reg_r12,
  reg_rbp,
  reg_rbx,
  reg_r11,
  reg_r10,
  reg_r9,
  reg_r8,
  reg_rax,
  reg_rcx,
  reg_rdx,
  reg_rsi,
  reg_rdi,
  reg_orig_rax,
  reg_rip,
  reg_cs,
  reg_eflags,
  reg_rsp,
  reg_ss,
  reg_fs_base,
  reg_gs_base,
  reg_ds,
  reg_es,
  reg_fs,
  reg_gs,
};

/// In rdx: the restorer is asked to put the address of the child's Birth there. (No register
/// of a program that was not prepared by its own call holds that by chance.)
inline constexpr std::uint64_t birth_wanted = 0x9d3c7a51e2f4806bull;

inline bool wants_birth(const descriptor::ThreadRecord& thread) noexcept {
  return thread.registers[reg_rdx] == birth_wanted;
}
inline void tell_birth(descriptor::ThreadRecord& thread, const void* birth) noexcept {
  thread.registers[reg_rdx] = reinterpret_cast<std::uint64_t>(birth);
}
/// What context_save returned, where a restorer has put an address; else null.
inline const void* told_birth(const Saved& saved) noexcept {
  return reinterpret_cast<std::uint64_t>(saved.birth) == birth_wanted ? nullptr : saved.birth;
}

/// What glibc marks the abort handlers of restartable sequences with.
inline constexpr std::uint32_t rseq_signature = 0x53053053;

/// How many bytes `write_xstate` writes: an XSAVE area's legacy part (FXSAVE) and its header.
inline constexpr std::uint32_t minimal_xstate_bytes = 512 + 64;

/// The registers with which a child returns 1 from the context_save() that filled `from`. The
/// thread pointers are the calling thread's, so: call it in the process that saved, or its copy.
inline void write_registers(const Context& from, descriptor::ThreadRecord& to) noexcept {
  std::uint64_t* r = to.registers;
  r[reg_rbx] = from.rbx;
  r[reg_rbp] = from.rbp;
  r[reg_r12] = from.r12;
  r[reg_r13] = from.r13;
  r[reg_r14] = from.r14;
  r[reg_r15] = from.r15;
  r[reg_rsp] = from.rsp;
  r[reg_rip] = from.rip;
  r[reg_rax] = 1;
  r[reg_rdx] = birth_wanted;
  r[reg_orig_rax] = ~std::uint64_t{0};  // not in a system call
  r[reg_eflags] = 0x202;                // interrupts on, direction up: as the ABI wants it
  r[reg_cs] = 0x33;
  r[reg_ss] = 0x2b;
  (void)raw_syscall(SYS_arch_prctl, ARCH_GET_FS, &r[reg_fs_base]);
  (void)raw_syscall(SYS_arch_prctl, ARCH_GET_GS, &r[reg_gs_base]);
}

/// The extended state at a function call: all of it initial but the two control words. `to` must
/// be zeroed and have room for minimal_xstate_bytes.
inline void write_xstate(const Context& from, std::uint8_t* to) noexcept {
  const auto put = [to](unsigned at, std::uint32_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; ++i) to[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
  };
  put(0, from.x87_control, 2);
  put(24, from.mxcsr, 4);
  put(28, 0xffff, 4);  // MXCSR_MASK
  put(512, 3, 1);      // XSTATE_BV: x87 and SSE are in the area, the rest is initial
}

}  // namespace mitosis::arch
