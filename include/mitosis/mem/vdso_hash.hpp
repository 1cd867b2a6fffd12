// SPDX-License-Identifier: MIT
// vdso_hash(): tells one kernel's vdso from another's. World: any (freestanding).
// A child's memory holds addresses inside its parent's vdso, and gets its own machine's in that
// place: the two must be the same. Prepare records the hash, resume compares it.
#pragma once

#include <mitosis/base/span.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis {

/// FNV-1a over 64-bit words of the vdso's whole mapping ([vdso] in /proc/PID/maps: whole pages).
/// Of `front` alone, without the zeros at the mapping's end, where `whole` says how long that is.
inline std::uint64_t vdso_hash(Bytes front, std::size_t whole = 0) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  const std::size_t end = whole > front.size() ? whole : front.size();
  for (std::size_t i = 0; i + 8 <= end; i += 8) {
    std::uint64_t word = 0;
    const Bytes there = front.sub(i, sizeof word);
    if (!there.empty()) __builtin_memcpy(&word, there.data(), there.size());
    hash = (hash ^ word) * 0x100000001b3ull;
  }
  return hash;
}

}  // namespace mitosis
