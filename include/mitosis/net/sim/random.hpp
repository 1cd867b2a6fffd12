// SPDX-License-Identifier: MIT
// Random: the simulator's source of chance. World: sim.
// Not <random>: its distributions differ between standard libraries, and a seed that showed a
// fault must show it everywhere.
#pragma once

#include <cstdint>

namespace mitosis::sim {

/// SplitMix64. The same seed gives the same numbers everywhere. One thread.
class Random {
 public:
  explicit Random(std::uint64_t seed) noexcept : state_(seed) {}

  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  /// Of [0, bound); 0 for bound 0. The bias of a 64-bit remainder does not matter here.
  std::uint64_t below(std::uint64_t bound) noexcept { return bound == 0 ? 0 : next() % bound; }
  /// True with probability `per_million` / 10^6.
  bool chance(std::uint32_t per_million) noexcept {
    return per_million != 0 && below(1'000'000) < per_million;
  }

 private:
  std::uint64_t state_;
};

}  // namespace mitosis::sim
