// SPDX-License-Identifier: MIT
// The engine asks its cache for every page; one that cannot tell a page's state is none.
// World: any.
// expect: static
// mentions: state
#include <mitosis/mem/page_cache_concept.hpp>

struct NotACache {
  void begin_fill(mitosis::PageRange) noexcept {}
  void end_fill(mitosis::PageRange, bool) noexcept {}
  mitosis::LocalMemory slot(mitosis::PageRange) noexcept { return {}; }
};
static_assert(mitosis::PageCache<NotACache>);
