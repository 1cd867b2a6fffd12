// SPDX-License-Identifier: MIT
// ChildStats: what a child has cost so far. World: any (freestanding). Kept under every policy.
#pragma once

#include <cstdint>

namespace mitosis {

struct ChildStats {
  std::uint64_t faults = 0;
  std::uint64_t zeros = 0;      ///< pages of zeros put in place
  std::uint64_t fetched = 0;    ///< pages read from an owner and put in place
  std::uint64_t cached = 0;     ///< pages mapped that were in the cache already
  std::uint64_t reads = 0;      ///< requests posted
  std::uint64_t bytes = 0;      ///< that these reads brought
  std::uint64_t fallbacks = 0;  ///< reads handed to the owner's CPU
  std::uint64_t dropped = 0;    ///< pages read in vain: removed, moved, or there already
  std::uint64_t failed = 0;     ///< pages that could not be had
};

}  // namespace mitosis
