// SPDX-License-Identifier: MIT
// NoCache: the page cache of a policy with Cache<None>. World: any (freestanding).
#pragma once

#include <mitosis/mem/page_cache_concept.hpp>

namespace mitosis {

/// Holds nothing. The engine of a Cache<None> policy never asks it.
struct NoCache {
  CacheState state(PageNumber) noexcept { return CacheState::absent; }
  void begin_fill(PageRange) noexcept {}
  void end_fill(PageRange, bool) noexcept {}
  LocalMemory slot(PageRange) noexcept { return {}; }
};
static_assert(PageCache<NoCache>);

}  // namespace mitosis
