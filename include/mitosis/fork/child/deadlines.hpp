// SPDX-License-Identifier: MIT
// Deadlines: how long a child's page may take, step by step. World: any (freestanding).
#pragma once

#include <cstdint>

namespace mitosis {

/// All in nanoseconds. A page that is not there `page` after its fault raises SIGBUS.
struct Deadlines {
  std::uint64_t page = 5'000'000'000;     ///< from the fault to the error
  std::uint64_t attempt = 1'500'000'000;  ///< one one-sided read of a page that is waited for
  std::uint64_t pause = 20'000'000;       ///< before a page is asked for again
  std::uint64_t grace = 250'000'000;  ///< a fabric completes so much after its deadline at latest
  std::uint64_t retry = 1'000'000;    ///< before an installation that hit a changing map is retried
};

}  // namespace mitosis
