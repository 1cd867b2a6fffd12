// SPDX-License-Identifier: MIT
// What this CPU and kernel let a program use, x86-64. World: user.
#pragma once

#include <cpuid.h>

#include <mitosis/base/span.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

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

/// Where a component (2 to 62) of an XSAVE area in the standard format ends; 0: this processor has
/// none such. Takes a CPUID, which is a VM exit in a guest.
inline std::size_t xstate_end(unsigned component) noexcept {
  unsigned bytes = 0, offset = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(13, component, &bytes, &offset, &ecx, &edx) == 0) return 0;
  return std::size_t{offset} + bytes;
}

/// Where the components of an XSAVE area in the standard format end. Asking takes a CPUID for each
/// component, which is a VM exit in a guest: once, and before anybody waits.
class XstateLayout {
 public:
  XstateLayout() noexcept {
    const std::uint64_t enabled = xfeatures();
    for (unsigned component = 2; component < ends_.size(); ++component) {
      if ((enabled >> component & 1) != 0) ends_[component] = xstate_end(component);
    }
  }
  /// How many bytes of the area count: up to the last component that is not in its initial state,
  /// at least the legacy part and the header.
  [[nodiscard]] std::size_t used(Bytes area) const noexcept {
    if (area.size() < least) return area.size();
    std::uint64_t present = 0;
    std::memcpy(&present, area.data() + header_at, sizeof present);
    std::size_t end = least;
    for (unsigned component = 2; component < ends_.size(); ++component) {
      if ((present >> component & 1) != 0) end = std::max(end, ends_[component]);
    }
    return std::min(end, area.size());
  }

 private:
  static constexpr std::size_t header_at = 512, least = 576;
  std::array<std::size_t, 63> ends_ = {};
};

}  // namespace mitosis::arch
