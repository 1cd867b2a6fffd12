// SPDX-License-Identifier: MIT
// PageRanges: a set of pages, as few ascending ranges as it takes. World: user (std::vector).
// What a target may serve, and what an image holds.
#pragma once

#include <mitosis/mem/page.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis {

/// Immutable once built. Each range also knows how many pages the ranges before it have: its place
/// in an image that holds them one after the other.
class PageRanges {
 public:
  PageRanges() = default;
  /// In any order, overlapping or not; empty ones are dropped.
  explicit PageRanges(std::vector<PageRange> ranges) {
    std::sort(ranges.begin(), ranges.end(),
              [](const PageRange& a, const PageRange& b) { return a.first < b.first; });
    for (const PageRange& r : ranges) {
      if (r.empty()) continue;
      if (!ranges_.empty() && r.first <= ranges_.back().end()) {
        PageRange& last = ranges_.back();
        if (r.end() > last.end()) last.count = r.end() - last.first;
      } else {
        ranges_.push_back(r);
      }
    }
    for (const PageRange& r : ranges_) {
      before_.push_back(pages_);
      pages_ += r.count;
    }
  }

  /// Where in the sequence of all pages' bytes those of [address, address + bytes) begin; nothing
  /// (false) unless one range has all of them.
  [[nodiscard]] std::pair<bool, std::uint64_t> offset_of(std::uint64_t address,
                                                         std::uint64_t bytes) const noexcept {
    const auto after =
        std::upper_bound(ranges_.begin(), ranges_.end(), page_of(address),
                         [](PageNumber page, const PageRange& r) { return page < r.first; });
    if (after == ranges_.begin()) return {false, 0};
    const auto at = static_cast<std::size_t>(after - ranges_.begin()) - 1;
    const std::uint64_t into = address - mitosis::address(ranges_[at].first);
    if (into > ranges_[at].bytes() || bytes > ranges_[at].bytes() - into) return {false, 0};
    return {true, (before_[at] << page_shift) + into};
  }
  [[nodiscard]] bool contains(std::uint64_t address, std::uint64_t bytes) const noexcept {
    return offset_of(address, bytes).first;
  }
  [[nodiscard]] std::uint64_t pages() const noexcept { return pages_; }
  [[nodiscard]] const std::vector<PageRange>& ranges() const noexcept { return ranges_; }

 private:
  std::vector<PageRange> ranges_;
  std::vector<std::uint64_t> before_;
  std::uint64_t pages_ = 0;
};

}  // namespace mitosis
