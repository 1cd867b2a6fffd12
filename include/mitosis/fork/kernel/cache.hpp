// SPDX-License-Identifier: MIT
// KernelCache: the pages that this machine's children of one parent share; models PageCache.
// World: kernel. The shim holds the pages: one cache a prepared parent and machine, whose children
// are served one at a time, so that no child ever meets what another one is filling.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/mem/page_cache_concept.hpp>

namespace mitosis::kernel {

/// A page is its own slot: a read's landing is taken apart when it has ended.
class KernelCache {
 public:
  explicit KernelCache(mitosis_child* child) noexcept : child_(child) {}

  [[nodiscard]] CacheState state(PageNumber key) noexcept {
    for (unsigned i = 0; i < filling_; ++i) {
      if (fills_[i].keys.contains(key)) return CacheState::filling;
    }
    return mitosis_shim_cached(child_, number(key)) != 0 ? CacheState::present : CacheState::absent;
  }
  /// Its landing, given by `slot` just before, is the cache's until `end_fill`.
  void begin_fill(PageRange keys) noexcept { fills_[filling_++] = {keys, offered_}; }
  void end_fill(PageRange keys, bool ok) noexcept {
    for (unsigned i = 0; i < filling_; ++i) {
      if (fills_[i].keys.first != keys.first || fills_[i].keys.count != keys.count) continue;
      if (ok) mitosis_shim_cache(child_, number(keys.first), keys.count, fills_[i].memory);
      mitosis_shim_free_pages(fills_[i].memory, keys.count);
      fills_[i] = fills_[--filling_];
      return;
    }
  }
  [[nodiscard]] LocalMemory slot(PageRange keys) noexcept {
    offered_ = nullptr;
    if (filling_ == max_fills || mitosis_shim_cache_room(child_, keys.count) == 0) return {};
    offered_ = mitosis_shim_allocate_pages(keys.count);
    return {static_cast<std::uint8_t*>(offered_), 0};
  }

 private:
  static constexpr unsigned max_fills = 64;  // as many as a child may have reads out
  struct Fill {
    PageRange keys;
    void* memory = nullptr;
  };
  static mitosis_u64 number(PageNumber key) noexcept { return static_cast<mitosis_u64>(key); }

  mitosis_child* child_;
  void* offered_ = nullptr;
  unsigned filling_ = 0;
  Fill fills_[max_fills];
};
static_assert(PageCache<KernelCache>);

}  // namespace mitosis::kernel
