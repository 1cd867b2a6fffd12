// SPDX-License-Identifier: MIT
// Engine: from a fault to a plan. World: any (freestanding). Part of fork/engine.hpp.
#pragma once

#include <mitosis/fork/engine.hpp>

namespace mitosis {

template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::on_fault(PageNumber page, C& cache, Plan& plan) noexcept {
  plan.clear();
  ahead_ = nullptr;
  plan.range = {page, 1};
  if (broken_ != Errc::ok) {
    plan.action = Action::fail;
    plan.error = broken_;
    return;
  }
  const Place place = at(page);
  if (!place.state) {
    plan.action = Action::zero;
    return;
  }

  // 1. The page itself: on its way, in the cache, or to be read.
  if (*place.state == PageState::in_flight) {
    plan.action = Action::wait;
  } else {
    const CacheState there = P::cached ? cache.state(place.key) : CacheState::absent;
    if (there == CacheState::present) return map_from_cache(page, place, cache, plan);
    if (there == CacheState::filling) {
      plan.action = Action::wait;
      plan.why = Wait::filling;
      plan.key = place.key;
      return;
    }
    demand(page, place, cache, plan);
    if (plan.action != Action::read) return;
  }

  // 2. With the same doorbell: the window behind it.
  if constexpr (P::prefetch > 0) {
    const PageNumber end = vma_end(page, place);
    if (Stream* stream = streams_.hit(page); stream != nullptr) {
      ahead_ = stream;
      ahead_end_ = end;
      // A reader at its stream's very end has used everything up: its window goes on from here.
      if (stream->next <= page) stream->next = page + 1;
      if (plan.action == Action::read || streams_.wants_more(*stream)) {
        extend(*stream, end, cache, plan);
      }
    } else if (plan.action == Action::read) {
      streams_.start(page, window(page + 1, end, cache, plan));
    }
  }
}

template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::read_ahead(C& cache, Plan& plan) noexcept {
  plan.clear();
  if constexpr (P::prefetch > 0) {
    if (ahead_ == nullptr || broken_ != Errc::ok || !streams_.wants_more(*ahead_)) return;
    extend(*ahead_, ahead_end_, cache, plan);
  }
}

/// One window more for a stream; a window without a single read ends its reading ahead.
template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::extend(Stream& stream, PageNumber end, C& cache, Plan& plan) noexcept {
  const unsigned before = plan.count;
  stream.next = window(stream.next, end, cache, plan);
  if (plan.count == before) ahead_ = nullptr;
}

/// The page's own read, on the demand lane.
template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::demand(PageNumber page, const Place& place, C& cache, Plan& plan) noexcept {
  if (ops_.used() == max_ops) {
    plan.action = Action::wait;
    plan.why = Wait::no_slot;
    return;
  }
  if (post(OpKind::demand, {page, 1}, place.key, cache, plan) == 1) {
    plan.action = Action::read;
  } else {
    plan.action = Action::fail;
    plan.error = Errc::out_of_memory;
  }
}

/// The page and the cached ones behind it at once: they cost no bytes and few microseconds.
template <LegalPolicy P, Allocator A>
template <PageCache C>
void Engine<P, A>::map_from_cache(PageNumber page, const Place& place, C& cache,
                                  Plan& plan) noexcept {
  const PageNumber end = place.end < vma_end(page, place) ? place.end : vma_end(page, place);
  const std::uint64_t limit = end - page < map_batch ? end - page : map_batch;
  plan.action = Action::map_cached;
  plan.key = place.key;
  // A page that was mapped before is mapped again alone: its neighbours are there.
  plan.range.count = *place.state == PageState::remote
                         ? run_in_cache(cache, place.key, limit, CacheState::present)
                         : 1;
}

/// Plans reads for the next N remote pages of [from, end), skipping all others; returns where it
/// stopped. What another child fetches, or the cache has, is skipped too.
template <LegalPolicy P, Allocator A>
template <PageCache C>
PageNumber Engine<P, A>::window(PageNumber from, PageNumber end, C& cache, Plan& plan) noexcept {
  constexpr unsigned max_steps = 4 * max_reads;
  std::uint64_t wanted = P::prefetch;
  PageNumber page = from;
  for (unsigned step = 0; step < max_steps && wanted > 0 && page < end && !plan.full(); ++step) {
    const Place place = at(page);
    const PageNumber stop = place.end < end ? place.end : end;
    if (place.state != PageState::remote) {
      page = stop;
      continue;
    }
    std::uint64_t count = stop - page < wanted ? stop - page : wanted;
    if (count > max_read_pages) count = max_read_pages;
    if constexpr (P::cached) {
      const CacheState state = cache.state(place.key);
      count = run_in_cache(cache, place.key, count, state);
      if (state != CacheState::absent) {
        page = page + count;
        continue;
      }
    }
    const std::uint64_t posted = post(OpKind::prefetch, {page, count}, place.key, cache, plan);
    if (posted == 0) break;
    page = page + posted;
    wanted -= posted;
  }
  return page;
}

/// Takes a slot, marks the pages and adds the read: as much of `pages` as lies in one piece at its
/// owner. Returns how many pages that are; 0: no slot, or no memory to mark them.
template <LegalPolicy P, Allocator A>
template <PageCache C>
std::uint64_t Engine<P, A>::post(OpKind kind, PageRange pages, PageNumber key, C& cache,
                                 Plan& plan) noexcept {
  const Origin::Place place = origin_.locate(key);
  if (pages.count > place.count) pages.count = place.count;
  const OpId id = ops_.take(kind);
  if (id == OpTable::none) return 0;
  const PageValue value{PageState::in_flight, place.owner, std::uint32_t{id} + 1, key};
  if (map_.assign(pages, value) != Errc::ok) {  // nothing has changed
    ops_.release(id);
    return 0;
  }
  Read read;
  read.op = id;
  read.lane = kind == OpKind::demand ? Lane::demand : Lane::bulk;
  read.owner = place.owner;
  read.pages = pages;
  read.key = key;
  read.source = place.source;
  if constexpr (P::cached) {
    const PageRange keys{key, pages.count};
    read.into = cache.slot(keys);
    read.fill = read.into.data != nullptr;
    if (read.fill) cache.begin_fill(keys);
  }
  Op& op = ops_[id];
  op.fill = read.fill;
  op.pages = pages;
  op.key = key;
  plan.add(read);
  return pages.count;
}

/// How many keys from `key` on are in `state`, up to `limit`.
template <LegalPolicy P, Allocator A>
template <PageCache C>
std::uint64_t Engine<P, A>::run_in_cache(C& cache, PageNumber key, std::uint64_t limit,
                                         CacheState state) noexcept {
  std::uint64_t count = 1;
  while (count < limit && cache.state(key + count) == state) ++count;
  return count;
}

template <LegalPolicy P, Allocator A>
auto Engine<P, A>::at(PageNumber page) const noexcept -> Place {
  const auto run = map_.next_at_or_after(page);
  if (!run) return {std::nullopt, {}, PageNumber{~std::uint64_t{0}}};
  if (page < run->range.first) return {std::nullopt, {}, run->range.first};
  return {run->value.state, run->value.source + (page - run->range.first), run->range.end()};
}

}  // namespace mitosis
