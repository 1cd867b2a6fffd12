// SPDX-License-Identifier: MIT
// What the restorer must know of x86-64 besides blob and frame. World: user, x86-64 only.
#pragma once

#include <asm/prctl.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/arch/x86_64/thread_record.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>

namespace mitosis::arch {

/// What the calling thread's thread-local storage is found by.
inline std::uint64_t thread_pointer() noexcept {
  std::uint64_t pointer;
  asm("mov %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

/// Whether the registers are those of a 64-bit program.
inline bool is_native(const descriptor::ThreadRecord& thread) noexcept {
  constexpr std::uint64_t user_code_segment = 0x33;
  return thread.registers[reg_cs] == user_code_segment;
}

/// Where the thread goes on.
inline std::uint64_t instruction_of(const descriptor::ThreadRecord& thread) noexcept {
  return thread.registers[reg_rip];
}

/// Whether the kernel takes them (arch_prctl(2): addresses of user space only).
inline bool has_valid_pointers(const descriptor::ThreadRecord& thread) noexcept {
  constexpr std::uint64_t end = 0x7ffffffff000;
  return thread.registers[reg_fs_base] < end && thread.registers[reg_gs_base] < end;
}

/// The ops that set what a signal frame does not hold.
template <class Writer>
void write_thread_pointers(const descriptor::ThreadRecord& thread, Writer& program) {
  program.op(SYS_arch_prctl, ARCH_SET_FS, thread.registers[reg_fs_base]);
  program.op(SYS_arch_prctl, ARCH_SET_GS, thread.registers[reg_gs_base]);
}

/// What clone3(2) takes as a new thread's thread-local storage.
inline std::uint64_t thread_pointer_of(const descriptor::ThreadRecord& thread) noexcept {
  return thread.registers[reg_fs_base];
}
/// The same for a thread that clone3(2) has given its thread-local storage, made by `maker`.
template <class Writer>
void write_other_pointers(const descriptor::ThreadRecord& thread,
                          const descriptor::ThreadRecord& maker, Writer& program) {
  if (thread.registers[reg_gs_base] == maker.registers[reg_gs_base]) return;
  program.op(SYS_arch_prctl, ARCH_SET_GS, thread.registers[reg_gs_base]);
}

}  // namespace mitosis::arch
