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

/// How far a child has come with what a WorkingSet told it when it began. Not all at once: bringing
/// much would keep the processors from the child that runs. The set is in the order of use, so a
/// child gets its beginning, and twice as much each time that it has to wait for a page.
class Foreseen {
 public:
  static constexpr std::uint64_t first_pages = 128;

  Foreseen() noexcept = default;
  /// The set must outlive this; what is added to it later does not count.
  explicit Foreseen(const WorkingSet& set) noexcept
      : set_(&set), end_(set.size()), allowed_(first_pages), step_(first_pages) {}

  /// The child had to wait.
  void allow_more() noexcept {
    step_ *= 2;
    allowed_ = step_;
  }
  /// There is nothing (more) to be brought for now.
  [[nodiscard]] bool empty() const noexcept { return at_ == end_ || allowed_ == 0; }
  /// What is next, of one range; not if empty.
  [[nodiscard]] PageRange next() const noexcept {
    const PageRange range = (*set_)[at_];
    const std::uint64_t left = range.count - into_;
    return {range.first + into_, left < allowed_ ? left : allowed_};
  }
  /// The first pages of next() need nothing; not more than it has.
  void pass(std::uint64_t pages) noexcept {
    into_ += pages;
    if (into_ < (*set_)[at_].count) return;
    ++at_;
    into_ = 0;
  }
  /// The first pages of next() are on their way.
  void bring(std::uint64_t pages) noexcept {
    allowed_ -= pages;
    pass(pages);
  }
  /// Nothing any more.
  void clear() noexcept { at_ = end_; }

 private:
  const WorkingSet* set_ = nullptr;
  unsigned at_ = 0, end_ = 0;
  std::uint64_t into_ = 0;
  std::uint64_t allowed_ = 0, step_ = 0;
};

}  // namespace mitosis
