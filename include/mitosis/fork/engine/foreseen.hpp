// SPDX-License-Identifier: MIT
// Engine: what other children fetched first. World: any (freestanding). Part of fork/engine.hpp.
#pragma once

#include <mitosis/fork/engine.hpp>

namespace mitosis {

/// Few reads at a time: a fault on a page that is not on its way yet is quicker than its turn here
/// would be. A page that is not remote any more is passed over, and so is one that another child is
/// fetching into the cache.
template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::next_foreseen(Foreseen& pages, C& cache, Plan& plan) noexcept {
  constexpr unsigned max_steps = 4 * max_reads;
  plan.clear();
  if (broken_ != Errc::ok) return pages.clear();
  unsigned step = 0;
  for (; step < max_steps && !pages.empty() && !plan.full(); ++step) {
    const PageRange next = pages.next();
    const Place place = at(next.first);
    PageNumber stop = place.end < next.end() ? place.end : next.end();
    if (place.state != PageState::remote) {
      pages.pass(stop - next.first);
      continue;
    }
    if (vma_end(next.first, place) < stop) stop = vma_end(next.first, place);
    std::uint64_t count = stop - next.first;
    if (count > max_read_pages) count = max_read_pages;
    if constexpr (P::cached) {
      const CacheState state = cache.state(place.key);
      count = run_in_cache(cache, place.key, count, state);
      if (state == CacheState::present) {
        if (plan.count > 0) break;  // the reads first; the next call maps
        plan.action = Action::map_cached;
        plan.range = {next.first, count};
        plan.key = place.key;
      }
      if (state != CacheState::absent) {
        pages.pass(count);
        if (state == CacheState::present) break;
        continue;
      }
    }
    if (ops_.used() >= max_foreseen_ops) return;
    const std::uint64_t posted =
        post(OpKind::prefetch, {next.first, count}, place.key, cache, plan);
    if (posted == 0) return;  // no slot: when one is free again
    pages.bring(posted);
  }
  plan.more = !pages.empty();
}

}  // namespace mitosis
