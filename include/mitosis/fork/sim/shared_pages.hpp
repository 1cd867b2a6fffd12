// SPDX-License-Identifier: MIT
// SharedPages: a machine's pages of one prepared parent; models PageCache. World: sim.
#pragma once

#include <mitosis/fork/cache_waiters.hpp>
#include <mitosis/fork/sim/content.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/page_cache_concept.hpp>

#include <cstdint>
#include <map>
#include <memory>

namespace mitosis::sim {

/// Room for every VMA's pages, each VMA's in a row; children share the bytes until they write.
class SharedPages {
 public:
  /// At most `budget` pages are kept; beyond it children read for themselves.
  SharedPages(const DescriptorView& view, std::uint64_t budget) : budget_(budget) {
    for (const descriptor::VmaRecord vma : view.vmas()) {
      const PageRange pages{page_of(vma.start), (vma.end - vma.start) >> page_shift};
      places_[pages.first] = {
          pages, Content(new std::uint8_t[pages.bytes()], std::default_delete<std::uint8_t[]>())};
    }
  }

  CacheState state(PageNumber key) noexcept {
    const auto found = states_.find(key);
    return found == states_.end() ? CacheState::absent : found->second;
  }
  void begin_fill(PageRange keys) noexcept {
    for (std::uint64_t i = 0; i < keys.count; ++i) {
      states_[keys.first + i] = CacheState::filling;
    }
    filling_ += keys.count;
  }
  void end_fill(PageRange keys, bool ok) noexcept {
    for (std::uint64_t i = 0; i < keys.count; ++i) {
      if (ok) {
        states_[keys.first + i] = CacheState::present;
      } else {
        states_.erase(keys.first + i);
      }
    }
    filling_ -= keys.count;
  }
  LocalMemory slot(PageRange keys) noexcept {
    if (states_.size() + keys.count > budget_) return {};
    return {at(keys.first).get(), 0};
  }

  /// The page's bytes, which live as long as anyone shares them.
  [[nodiscard]] Content at(PageNumber key) const {
    const Place& place = std::prev(places_.upper_bound(key))->second;
    return {place.bytes, place.bytes.get() + ((key - place.pages.first) << page_shift)};
  }
  /// Pages that somebody has promised to fetch: 0 when nothing is out.
  [[nodiscard]] std::uint64_t filling() const noexcept { return filling_; }
  [[nodiscard]] CacheWaiters& waiters() noexcept { return waiters_; }

 private:
  struct Place {
    PageRange pages;
    Content bytes;
  };
  std::map<PageNumber, Place> places_;
  std::map<PageNumber, CacheState> states_;
  std::uint64_t budget_;
  std::uint64_t filling_ = 0;
  CacheWaiters waiters_;
};
static_assert(PageCache<SharedPages>);

}  // namespace mitosis::sim
