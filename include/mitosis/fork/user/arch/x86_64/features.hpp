// SPDX-License-Identifier: MIT
// What this CPU and kernel let a program use, x86-64. World: user.
#pragma once

#include <cpuid.h>

#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>

namespace mitosis::arch {

inline constexpr descriptor::Arch this_arch = descriptor::Arch::x86_64;

/// XCR0: the extended state components that the kernel has enabled; 0 where there is no XSAVE.
/// A program may have chosen code for any of them (ifuncs do), in use at the capture or not.
inline std::uint64_t xfeatures() noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & bit_OSXSAVE) == 0) return 0;
  asm volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
  return (std::uint64_t{edx} << 32) | eax;
}

/// Bytes of an XSAVE area with all of XCR0, in the standard format; 0 where there is no XSAVE.
inline std::uint64_t xstate_size() noexcept {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(13, 0, &eax, &ebx, &ecx, &edx) == 0) return 0;
  return ebx;
}

}  // namespace mitosis::arch
