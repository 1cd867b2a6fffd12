// SPDX-License-Identifier: MIT
// What a child does with its parent's memory: reads it in order, or here and there. World: user.
#pragma once

#include <harness/clock.hpp>
#include <harness/memory.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace bench {

/// One pass over all pages, first to last.
struct Scan {
  std::int64_t start = 0, end = 0;  ///< CLOCK_MONOTONIC
  std::size_t wrong = 0;            ///< pages that did not hold the parent's bytes

  static Scan of(const Memory& memory) noexcept {
    Scan scan;
    scan.start = now_ns();
    for (std::size_t i = 0; i < memory.pages(); ++i) scan.wrong += memory.check(i) ? 0 : 1;
    scan.end = now_ns();
    return scan;
  }
};

/// Different pages in random order, each timed.
struct RandomReads {
  static constexpr std::size_t most = 4096;
  std::uint32_t took[most] = {};  ///< nanoseconds, sorted once all are there
  std::size_t count = 0;
  std::size_t wrong = 0;

  /// `memory` must have a power of two of pages: then the generator's period is all of them, and
  /// no page comes twice.
  void run(const Memory& memory, std::size_t reads, std::uint64_t seed) noexcept {
    count = std::min(reads, most);
    wrong = 0;
    for (std::uint32_t& each : took) each = 1;  // present before the clock runs
    std::uint64_t at = seed;
    for (std::size_t i = 0; i < count; ++i) {
      at = (at * 6364136223846793005u + 1442695040888963407u) % memory.pages();
      const std::int64_t start = now_ns();
      const bool right = memory.check(at);
      took[i] = static_cast<std::uint32_t>(now_ns() - start);
      wrong += right ? 0 : 1;
    }
    std::sort(took, took + count);
  }
  [[nodiscard]] std::uint32_t quantile(double part) const noexcept {
    return count == 0 ? 0 : took[static_cast<std::size_t>(part * static_cast<double>(count - 1))];
  }
};

}  // namespace bench
