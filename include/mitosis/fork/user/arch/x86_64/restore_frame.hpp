// SPDX-License-Identifier: MIT
// SignalFrame: what rt_sigreturn(2) makes a thread from. World: user, x86-64 only.
// Sources: Linux arch/x86/include/uapi/asm/{sigcontext,ucontext}.h, arch/x86/kernel/signal_64.c and
// fpu/signal.c. Spelled out here because libc's <signal.h> and the kernel's headers exclude each
// other.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/arch/x86_64/features.hpp>
#include <mitosis/fork/user/arch/x86_64/thread_record.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace mitosis::arch {

/// The kernel's struct ucontext, in the order that it reads it.
struct SignalFrame {
  std::uint64_t flags, link;
  std::uint64_t altstack_base;
  std::uint32_t altstack_flags, pad;
  std::uint64_t altstack_bytes;
  std::uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  std::uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  std::uint16_t cs, gs, fs, ss;
  std::uint64_t error, trap, old_mask, cr2;
  std::uint64_t fpstate;  ///< address of an XSAVE area, 64-aligned; 0: the initial state
  std::uint64_t reserved[8];
  std::uint64_t signal_mask;
};
static_assert(sizeof(SignalFrame) == 304 && offsetof(SignalFrame, fpstate) == 224);

namespace detail {
inline constexpr std::size_t legacy_bytes = 512;
/// A frame's own words, in the part of the legacy area that the CPU leaves to software.
inline constexpr std::size_t software_at = 464;
struct SoftwareWords {
  std::uint32_t magic1;
  std::uint32_t extended_size;
  std::uint64_t xfeatures;
  std::uint32_t xstate_size;
  std::uint32_t pad[7];
};
static_assert(sizeof(SoftwareWords) == legacy_bytes - software_at);
inline constexpr std::uint32_t magic1 = 0x46505853, magic2 = 0x46505845;
inline constexpr std::uint64_t x87_and_sse = 3, avx = 4;
/// AVX's component lies right behind the header in the standard format, everywhere.
inline constexpr std::size_t avx_end = minimal_xstate_bytes + 256;
/// flags: there is an XSAVE area; ss counts.
inline constexpr std::uint64_t frame_flags = 1 | 2 | 4;
constexpr std::size_t frame_room = (sizeof(SignalFrame) + 63) & ~std::size_t{63};

/// The front part of the area that holds all that is not in its initial state. The larger
/// components are rarely in use, and each thread's frame stays in the child; nor does rt_sigreturn
/// take more than the task may use: AMX's tiles, which PTRACE_GETREGSET has in any case, need a
/// permission, and with them it takes only SSE's state (check_xstate_in_sigframe() of the
/// kernel's arch/x86/kernel/fpu/signal.c).
inline Bytes part_in_use(Bytes xstate) noexcept {
  if (xstate.size() <= avx_end) return xstate;
  std::uint64_t present;  // XSTATE_BV
  std::memcpy(&present, xstate.data() + legacy_bytes, sizeof present);
  if ((present & ~(x87_and_sse | avx)) == 0) {
    return xstate.sub(0, (present & avx) != 0 ? avx_end : minimal_xstate_bytes);
  }
  const std::size_t end = xstate_end(static_cast<unsigned>(std::bit_width(present)) - 1);
  return end < avx_end || end > xstate.size() ? xstate : xstate.sub(0, end);
}
/// The components that lie in an area's front part of that size.
inline std::uint64_t components_in(Bytes part) noexcept {
  if (part.size() < avx_end) return x87_and_sse;
  if (part.size() == avx_end) return x87_and_sse | avx;
  std::uint64_t present;
  std::memcpy(&present, part.data() + legacy_bytes, sizeof present);
  const auto last = static_cast<unsigned>(std::bit_width(present));
  return last >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << last) - 1;
}
}  // namespace detail

/// Bytes that `write_frame` needs.
inline std::size_t frame_bytes(Bytes xstate) noexcept {
  xstate = detail::part_in_use(xstate);
  return detail::frame_room + (xstate.empty() ? 0 : xstate.size() + sizeof detail::magic2);
}

/// Writes the frame to `at`, 64-aligned and zeroed, from where rt_sigreturn will read it.
/// `xstate` is an XSAVE area in the standard format (or empty); `xfeatures` are the components that
/// it has room for and that this machine has.
/// What the CPU would fault on is cleared: the record may come from a hostile machine.
inline void write_frame(const descriptor::ThreadRecord& thread, Bytes xstate,
                        std::uint64_t xfeatures, std::uint8_t* at) noexcept {
  const std::uint64_t* r = thread.registers;
  xstate = detail::part_in_use(xstate);
  SignalFrame f = {};
  f.flags = detail::frame_flags;
  f.altstack_base = thread.altstack_base;
  f.altstack_flags = thread.altstack_flags;
  f.altstack_bytes = thread.altstack_bytes;
  f.r8 = r[reg_r8], f.r9 = r[reg_r9], f.r10 = r[reg_r10], f.r11 = r[reg_r11];
  f.r12 = r[reg_r12], f.r13 = r[reg_r13], f.r14 = r[reg_r14], f.r15 = r[reg_r15];
  f.rdi = r[reg_rdi], f.rsi = r[reg_rsi], f.rbp = r[reg_rbp], f.rbx = r[reg_rbx];
  f.rdx = r[reg_rdx], f.rax = r[reg_rax], f.rcx = r[reg_rcx], f.rsp = r[reg_rsp];
  f.rip = r[reg_rip], f.eflags = r[reg_eflags];
  f.cs = static_cast<std::uint16_t>(r[reg_cs]), f.ss = static_cast<std::uint16_t>(r[reg_ss]);
  f.signal_mask = thread.signal_mask;
  if (xstate.size() >= minimal_xstate_bytes) {
    std::uint8_t* area = at + detail::frame_room;
    f.fpstate = reinterpret_cast<std::uint64_t>(area);
    std::memcpy(area, xstate.data(), xstate.size());
    detail::SoftwareWords words = {};
    words.magic1 = detail::magic1;
    words.extended_size = static_cast<std::uint32_t>(xstate.size() + sizeof detail::magic2);
    // What lies behind the area's end: the kernel gives it its initial state.
    words.xfeatures = xfeatures & detail::components_in(xstate);
    words.xstate_size = static_cast<std::uint32_t>(xstate.size());
    std::memcpy(area + detail::software_at, &words, sizeof words);
    std::memcpy(area + xstate.size(), &detail::magic2, sizeof detail::magic2);
    area[26] = area[27] = 0;  // MXCSR's upper half is reserved
    std::uint64_t present;    // XSTATE_BV; the rest of the header must be zero
    std::memcpy(&present, area + detail::legacy_bytes, sizeof present);
    present &= words.xfeatures;
    std::memcpy(area + detail::legacy_bytes, &present, sizeof present);
    std::memset(area + detail::legacy_bytes + sizeof present, 0, 64 - sizeof present);
  }
  std::memcpy(at, &f, sizeof f);
}

}  // namespace mitosis::arch
