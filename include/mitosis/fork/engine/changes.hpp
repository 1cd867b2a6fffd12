// SPDX-License-Identifier: MIT
// Engine: load, fork, mremap, snapshot. World: any (freestanding). Part of fork/engine.hpp.
#pragma once

#include <mitosis/fork/engine.hpp>

namespace mitosis {

template <LegalPolicy P, Allocator A>
Errc Engine<P, A>::load(const DescriptorView& view) noexcept {
  origin_ = Origin(view);
  for (const descriptor::RunRecord run : origin_.runs()) {
    const PageRange pages{PageNumber{run.page}, run.count};
    const Errc done = map_.assign(pages, {PageState::remote, run.owner, 0, pages.first});
    if (done != Errc::ok) return broken_ = done;
    if (pages.end() > end_) end_ = pages.end();
  }
  return Errc::ok;
}

template <LegalPolicy P, Allocator A>
Errc Engine<P, A>::carry(PageRange range) noexcept {
  PageNumber page = range.first;
  while (page < range.end()) {
    const Place place = at(page);
    const PageNumber stop = place.end < range.end() ? place.end : range.end();
    if (!place.state) {
      const Errc done = map_.assign({page, stop - page}, {PageState::remote, 0, 0, page});
      if (done != Errc::ok) return broken_ = done;
    }
    page = stop;
  }
  if (range.end() > end_) end_ = range.end();
  return Errc::ok;
}

template <LegalPolicy P, Allocator A>
Errc Engine<P, A>::fork_into(Engine& copy) const noexcept {
  copy.origin_ = origin_;
  copy.end_ = end_;
  copy.eager_at_ = eager_at_;
  copy.careful_until_ = careful_until_;
  copy.skipped_from_ = skipped_from_;
  copy.broken_ = broken_;
  copy.keep(map_.clone_into(copy.map_));
  ops_.for_each([&](OpId id) {
    for (auto piece = next_install(id, ops_[id].pages.first); piece;
         piece = next_install(id, piece->end())) {
      const PageNumber key = ops_[id].key + (piece->first - ops_[id].pages.first);
      copy.keep(copy.map_.assign(*piece, {PageState::remote, origin_.locate(key).owner, 0, key}));
      if (piece->first < copy.eager_at_) copy.eager_at_ = piece->first;
    }
  });
  return copy.broken_;
}

template <LegalPolicy P, Allocator A>
void Engine<P, A>::on_moved(PageRange from, PageNumber to) noexcept {
  ops_.for_each([&](OpId id) {
    const PageRange both = intersect(ops_[id].pages, from);
    for (auto piece = next_install(id, both.first); !both.empty() && piece;
         piece = next_install(id, piece->end())) {
      const PageRange part = intersect(*piece, from);
      if (part.empty()) break;
      const PageNumber key = ops_[id].key + (part.first - ops_[id].pages.first);
      keep(map_.assign(part, {PageState::remote, origin_.locate(key).owner, 0, key}));
    }
  });
  keep(map_.move(from, to));
}

template <LegalPolicy P, Allocator A>
template <class Fn>
requires std::invocable<Fn, PageRange, std::uint16_t, PageNumber, bool>
void Engine<P, A>::snapshot(Fn&& fn) const noexcept {
  map_.for_each({PageNumber{0}, user_address_end >> page_shift}, [&](const PageRun& run) {
    if (!has_source(run.value.state)) return;
    const bool cached = run.value.state == PageState::cached;
    std::uint64_t done = 0;
    while (done < run.range.count) {
      const auto place = origin_.locate(run.value.source + done);
      const std::uint64_t left = run.range.count - done;
      const std::uint64_t count = place.count < left ? place.count : left;
      fn(PageRange{run.range.first + done, count}, place.owner, place.source, cached);
      done += count;
    }
  });
}

}  // namespace mitosis
