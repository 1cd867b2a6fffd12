// SPDX-License-Identifier: MIT
// What the restorer must know of x86-64 besides blob and frame. World: user, x86-64 only.
#pragma once

#include <asm/prctl.h>
#include <sys/syscall.h>

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/arch/x86_64/features.hpp>
#include <mitosis/fork/user/arch/x86_64/thread_record.hpp>
#include <mitosis/mem/descriptor/records.hpp>
#include <mitosis/mem/descriptor/refuse.hpp>

#include <cstdint>

namespace mitosis::arch {

/// Where user addresses end with four levels of page tables; nothing is mapped above unasked.
inline constexpr std::uint64_t task_size = 0x7ffffffff000;

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

/// The ops that set what a signal frame does not hold.
template <class Writer>
void write_thread_pointers(const descriptor::ThreadRecord& thread, Writer& program) {
  program.op(SYS_arch_prctl, ARCH_SET_FS, thread.registers[reg_fs_base]);
  program.op(SYS_arch_prctl, ARCH_SET_GS, thread.registers[reg_gs_base]);
}

/// An extended state component's name; empty for one that has none yet.
constexpr const char* xfeature_name(unsigned bit) noexcept {
  constexpr const char* names[] = {"x87",
                                   "SSE",
                                   "AVX",
                                   "MPX bounds",
                                   "MPX config",
                                   "AVX-512 opmask",
                                   "AVX-512 ZMM_Hi256",
                                   "AVX-512 Hi16_ZMM",
                                   "PT",
                                   "PKRU",
                                   "PASID",
                                   "CET user",
                                   "CET supervisor",
                                   "HDC",
                                   "UINTR",
                                   "LBR",
                                   "HWP",
                                   "AMX TILECFG",
                                   "AMX TILEDATA",
                                   "APX"};
  return bit < sizeof names / sizeof *names ? names[bit] : "";
}

/// missing_cpu_feature, naming the components that the parent's machine had and this one lacks: a
/// program chooses its code by them (ifuncs), so it may use any, captured in a register or not.
inline Result<void> check_xfeatures(std::uint64_t parents, std::uint64_t ours) noexcept {
  const std::uint64_t missing = parents & ~ours;
  if (missing == 0) return {};
  Error error(Errc::missing_cpu_feature);
  for (unsigned bit = 0; bit < 64; ++bit) {
    if ((missing >> bit & 1) == 0) continue;
    if (!error.subject.empty()) error.subject.append(", ");
    if (*xfeature_name(bit) != '\0') {
      error.subject.append(xfeature_name(bit));
    } else {
      error.subject.append("XCR0 bit ");
      descriptor::append_number(error.subject, bit);
    }
  }
  return error.in("check the CPU");
}

}  // namespace mitosis::arch
