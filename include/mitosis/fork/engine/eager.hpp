// SPDX-License-Identifier: MIT
// Engine: the eager start. World: any (freestanding). Part of fork/engine.hpp.
#pragma once

#include <mitosis/fork/engine.hpp>

namespace mitosis {

/// Walks the map upwards, as many reads ahead as an eager start may have out. Where a long read has
/// failed, its pages are asked for one by one, as demand reads: those go on to the fallback.
template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::next_eager(C& cache, Plan& plan) noexcept {
  constexpr unsigned max_steps = 4 * max_reads;
  plan.clear();
  if (broken_ != Errc::ok) {
    plan.action = Action::fail;
    plan.error = broken_;
    return;
  }
  unsigned step = 0;
  for (; step < max_steps && eager_at_ < end_ && !plan.full(); ++step) {
    const Place place = at(eager_at_);
    PageNumber stop = place.end < end_ ? place.end : end_;
    if (place.state != PageState::remote) {
      eager_at_ = stop;
      continue;
    }
    if (vma_end(eager_at_, place) < stop) stop = vma_end(eager_at_, place);
    std::uint64_t count = stop - eager_at_;
    if constexpr (P::cached) {
      const CacheState state = cache.state(place.key);
      count = run_in_cache(cache, place.key, count < map_batch ? count : map_batch, state);
      if (state == CacheState::present) {
        if (plan.count > 0) return;  // the reads first; the next call maps
        plan.action = Action::map_cached;
        plan.range = {eager_at_, count};
        plan.key = place.key;
        eager_at_ = eager_at_ + count;
        return;
      }
      if (state == CacheState::filling) {
        if (eager_at_ < skipped_from_) skipped_from_ = eager_at_;
        eager_at_ = eager_at_ + count;
        continue;
      }
    }
    const bool careful = eager_at_ < careful_until_;
    if (count > max_read_pages) count = max_read_pages;
    const auto kind = careful ? OpKind::demand : OpKind::eager;
    if (ops_.used() >= max_eager_ops) return;
    const std::uint64_t posted =
        post(kind, {eager_at_, careful ? 1 : count}, place.key, cache, plan);
    if (posted == 0) {
      if (plan.count == 0) {
        plan.action = Action::fail;
        plan.error = Errc::out_of_memory;
      }
      return;
    }
    eager_at_ = eager_at_ + posted;
  }
  plan.more = step == max_steps;
}

template <LegalPolicy P, Allocator A>
void Engine<P, A>::look_again() noexcept {
  if (skipped_from_ < eager_at_) eager_at_ = skipped_from_;
  skipped_from_ = PageNumber{~std::uint64_t{0}};
}

}  // namespace mitosis
