// SPDX-License-Identifier: MIT
// WorkingSet: which pages the children of one parent fetch first. World: any (freestanding).
// All children go on from the same instruction, and touch much the same pages at first. What one of
// them has fetched, fault by fault, the next ones get in one go.
#pragma once

#include <mitosis/mem/page.hpp>

#include <cstdint>

namespace mitosis {

/// Ranges of keys (page numbers of the descriptor) in the order of their first fetch, none twice.
/// Fixed in size: what finds no room is left out, and faults as ever. Used by one thread.
class WorkingSet {
 public:
  static constexpr unsigned max_ranges = 512;
  static constexpr std::uint64_t max_pages = 2048;  ///< a child gets no more ahead of its faults

  /// A child has fetched these.
  void add(PageRange keys) noexcept {
    if (keys.count > max_pages - pages_ || contains(keys.first)) return;
    if (count_ > 0 && ranges_[count_ - 1].end() == keys.first) {
      ranges_[count_ - 1].count += keys.count;
    } else if (count_ < max_ranges) {
      ranges_[count_++] = keys;
    } else {
      return;
    }
    pages_ += keys.count;
  }
  [[nodiscard]] unsigned size() const noexcept { return count_; }
  [[nodiscard]] PageRange operator[](unsigned i) const noexcept { return ranges_[i]; }
  [[nodiscard]] std::uint64_t pages() const noexcept { return pages_; }

 private:
  [[nodiscard]] bool contains(PageNumber key) const noexcept {
    for (unsigned i = 0; i < count_; ++i) {
      if (ranges_[i].contains(key)) return true;
    }
    return false;
  }
  PageRange ranges_[max_ranges];
  unsigned count_ = 0;
  std::uint64_t pages_ = 0;
};

/// How far a child has come with what a WorkingSet told it when it began.
class Foreseen {
 public:
  Foreseen() noexcept = default;
  /// The set must outlive this; what is added to it later does not count.
  explicit Foreseen(const WorkingSet& set) noexcept : set_(&set), end_(set.size()) {}

  [[nodiscard]] bool empty() const noexcept { return at_ == end_; }
  /// The rest of the range that is next; not if empty.
  [[nodiscard]] PageRange next() const noexcept {
    const PageRange range = (*set_)[at_];
    return {range.first + into_, range.count - into_};
  }
  /// The first pages of next() are done with; not more than it has.
  void skip(std::uint64_t pages) noexcept {
    into_ += pages;
    if (into_ < (*set_)[at_].count) return;
    ++at_;
    into_ = 0;
  }
  void clear() noexcept { at_ = end_; }

 private:
  const WorkingSet* set_ = nullptr;
  unsigned at_ = 0, end_ = 0;
  std::uint64_t into_ = 0;
};

}  // namespace mitosis
