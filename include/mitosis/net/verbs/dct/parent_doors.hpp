// SPDX-License-Identifier: MIT
// ParentDoors: the dynamic targets of one prepared parent: one for all of it, and one of its own
// for each of its largest areas. World: user; one thread at a time. They end with the parent.
#pragma once

#include <mitosis/mem/page.hpp>
#include <mitosis/net/verbs/dct/doors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::verbs {

class ParentDoors {
 public:
  /// Areas that have a door of their own.
  static constexpr std::size_t max_own = 8;
  static_assert(max_own < rpc::max_doors);

  /// `doors` null: there are none, and all indices are 0. `areas` (VMAs) are apart from each other.
  ParentDoors(Doors* doors, std::vector<PageRange> areas)
      : doors_(doors), areas_(std::move(areas)) {
    std::sort(areas_.begin(), areas_.end(),
              [](const PageRange& a, const PageRange& b) { return a.count > b.count; });
    if (areas_.size() > max_own) areas_.resize(max_own);
  }
  ParentDoors(const ParentDoors&) = delete;
  ParentDoors& operator=(const ParentDoors&) = delete;
  ~ParentDoors() { close(); }

  /// Where not all can be had, the areas that go without share the parent's. An error: not even
  /// that; the parent can be read, but not through dynamic connections.
  Result<void> open() {
    if (doors_ == nullptr || !open_.empty()) return {};
    Result<rpc::Door> common = doors_->open();
    if (!common.ok()) return common.error();
    open_.push_back(*common);
    for (std::size_t i = 0; i < areas_.size(); ++i) {
      Result<rpc::Door> own = doors_->open();
      if (!own.ok()) {
        areas_.resize(i);
        break;
      }
      open_.push_back(*own);
    }
    std::vector<std::uint32_t> order(areas_.size());
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
      return areas_[a].first < areas_[b].first;
    });
    for (const std::uint32_t i : order) by_address_.push_back({areas_[i], i + 1});
    return {};
  }
  /// Nothing of the parent is read through them any more. Idempotent.
  void close() noexcept {
    for (const rpc::Door& door : open_) doors_->close(door);
    open_.clear();
    by_address_.clear();
  }
  /// What readers are told.
  [[nodiscard]] const std::vector<rpc::Door>& told() const noexcept { return open_; }
  /// Calls `part(start, bytes, door)` for the parts of [start, start + bytes), in order: `door` is
  /// an index into what is told. Stops where it says false.
  template <class Part>
  bool split(std::uint64_t start, std::uint64_t bytes, Part part) const {
    const std::uint64_t end = start + bytes;
    for (const Own& own : by_address_) {
      const std::uint64_t from = address(own.pages.first);
      const std::uint64_t to = from + own.pages.bytes();
      if (to <= start) continue;
      if (from >= end) break;
      if (from > start && !part(start, from - start, std::uint32_t{0})) return false;
      start = std::max(start, from);
      const std::uint64_t stop = std::min(to, end);
      if (!part(start, stop - start, own.door)) return false;
      start = stop;
    }
    return start == end || part(start, end - start, std::uint32_t{0});
  }

 private:
  struct Own {
    PageRange pages;
    std::uint32_t door = 0;
  };
  Doors* doors_;
  std::vector<PageRange> areas_;  ///< largest first
  std::vector<rpc::Door> open_;   ///< the parent's, then those of areas_
  std::vector<Own> by_address_;
};

}  // namespace mitosis::verbs
