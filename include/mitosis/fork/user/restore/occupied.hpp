// SPDX-License-Identifier: MIT
// Occupied: the addresses that launcher or child use, to find room that neither does. World: user.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/restore/address_space.hpp>
#include <mitosis/fork/user/restore/mapping.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mitosis::restore {

/// Below it nothing is placed: null pointers with an offset must go on faulting.
inline constexpr std::uint64_t lowest_hole = 0x10000;

/// Addresses in use, by either side. One thread.
class Occupied {
 public:
  Occupied(Span<const Range> launcher, Span<const Mapping> child) {
    ranges_.reserve(launcher.size() + child.size());
    for (const Range& r : launcher) ranges_.push_back(r);
    for (const Mapping& m : child) ranges_.push_back({m.start, m.end});
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.start < b.start; });
  }

  /// The lowest free room of `bytes` (whole pages) within [from, below); an empty range where
  /// there is none.
  [[nodiscard]] Range find(std::uint64_t bytes, std::uint64_t from,
                           std::uint64_t below) const noexcept {
    std::uint64_t start = from;
    for (const Range& r : ranges_) {
      if (r.end <= start) continue;
      if (r.start >= start && r.start - start >= bytes) break;
      start = r.end;
    }
    if (start >= below || below - start < bytes) return {};
    return {start, start + bytes};
  }

  /// Marks room as taken.
  void add(Range range) {
    const auto behind =
        std::upper_bound(ranges_.begin(), ranges_.end(), range.start,
                         [](std::uint64_t start, const Range& r) { return start < r.start; });
    ranges_.insert(behind, range);
  }

 private:
  std::vector<Range> ranges_;  // ascending by start; may overlap
};

}  // namespace mitosis::restore
