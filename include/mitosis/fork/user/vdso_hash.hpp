// SPDX-License-Identifier: MIT
// vdso_hash(): tells one kernel's vdso from another's. World: user.
// A child's memory holds addresses inside its parent's vdso, and gets its own machine's in that
// place: the two must be the same. Prepare records the hash, resume compares it.
#pragma once

#include <mitosis/base/span.hpp>

#include <cstdint>

namespace mitosis {

/// FNV-1a over 64-bit words of the vdso's whole mapping ([vdso] in /proc/PID/maps: whole pages).
inline std::uint64_t vdso_hash(Bytes mapping) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (std::size_t i = 0; i + 8 <= mapping.size(); i += 8) {
    std::uint64_t word;
    __builtin_memcpy(&word, mapping.data() + i, 8);
    hash = (hash ^ word) * 0x100000001b3ull;
  }
  return hash;
}

}  // namespace mitosis
