// SPDX-License-Identifier: MIT
// PageCache: the concept of a machine's cache of fetched pages. World: any (freestanding).
// mem/page_cache.hpp models it in user space; the simulator and the kernel have models of their
// own.
#pragma once

#include <mitosis/mem/local_memory.hpp>
#include <mitosis/mem/page.hpp>

#include <concepts>
#include <cstdint>

namespace mitosis {

enum class CacheState : std::uint8_t { absent, filling, present };

/// The machine's cache of one prepared parent's pages, by the parent's page number ("source" page
/// as the descriptor being resumed numbers it). One thread uses it. With Cache<None> it is unused.
/// A range of source pages lies consecutively in `slot` memory within one VMA of the descriptor.
template <class C>
concept PageCache = requires(C c, PageNumber source, PageRange range, bool ok) {
  { c.state(source) }
  noexcept->std::same_as<CacheState>;
  /// Marks absent pages as being fetched; the caller will call `end_fill` for exactly them.
  { c.begin_fill(range) }
  noexcept->std::same_as<void>;
  /// They arrived (present) or did not (absent again).
  { c.end_fill(range, ok) }
  noexcept->std::same_as<void>;
  /// Where the pages' bytes live; null where the budget forbids: then the child reads on its own.
  { c.slot(range) }
  noexcept->std::same_as<LocalMemory>;
};

}  // namespace mitosis
