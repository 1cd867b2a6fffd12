// SPDX-License-Identifier: MIT
// PageMap: what is known of each page of a child, as runs. World: any (freestanding).
// Costs, in time and memory, grow with runs and not with pages: a GiB that nobody has touched yet
// is one run. What is in no run is zero.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/mem/allocator.hpp>
#include <mitosis/mem/page_map/run.hpp>
#include <mitosis/mem/page_map/run_blocks.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <type_traits>

namespace mitosis {

/// A map from pages to values. Neighbours that continue each other are one run, always.
/// A change either happens as a whole or, with out_of_memory, not at all. Finding takes two
/// binary searches; a change moves at most a few blocks of `BlockRuns` runs (2 KiB) plus the index
/// of blocks, and what it removes. Ranges must end at or below page 2^52. One thread.
template <Allocator A, unsigned BlockRuns = 63>
class PageMap {
 public:
  PageMap() noexcept requires std::is_nothrow_default_constructible_v<A> : blocks_(A{}) {}
  explicit PageMap(A allocator) noexcept : blocks_(allocator) {}
  PageMap(PageMap&&) noexcept = default;
  PageMap& operator=(PageMap&&) noexcept = default;

  /// How many runs there are.
  [[nodiscard]] std::size_t size() const noexcept { return blocks_.runs(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

  /// The whole run that `page` is in; nothing: the page is zero.
  [[nodiscard]] std::optional<PageRun> find(PageNumber page) const noexcept {
    const Cursor at = first_ending_after(page);
    if (at == blocks_.end() || page < blocks_[at].range.first) return std::nullopt;
    return blocks_[at];
  }
  /// The whole run that `page` is in, or else the first one after it.
  [[nodiscard]] std::optional<PageRun> next_at_or_after(PageNumber page) const noexcept {
    const Cursor at = first_ending_after(page);
    if (at == blocks_.end()) return std::nullopt;
    return blocks_[at];
  }
  /// Calls fn(const PageRun&) for each run's part in `range`, by ascending page. A `bool` result
  /// of false ends it. `fn` must not change the map.
  template <std::invocable<const PageRun&> Fn>
  void for_each(PageRange range, Fn&& fn) const noexcept {
    if (range.empty()) return;
    for (Cursor at = first_ending_after(range.first);
         at != blocks_.end() && blocks_[at].range.first < range.end(); at = blocks_.next(at)) {
      const PageRun part = blocks_[at].part(range);
      if constexpr (std::is_same_v<decltype(fn(part)), bool>) {
        if (!fn(part)) return;
      } else {
        fn(part);
      }
    }
  }

  /// The first page of `range` gets `value`, the following ones what follows it.
  [[nodiscard]] Errc assign(PageRange range, PageValue value) noexcept {
    const PageRun run{range, value.normal()};
    const Errc done = change(range, &run);
    blocks_.trim();
    return done;
  }
  /// The pages of `range` are zero from now on.
  [[nodiscard]] Errc erase(PageRange range) noexcept {
    const Errc done = change(range, nullptr);
    blocks_.trim();
    return done;
  }
  /// What `from` is, the pages from `to` on become; `from` becomes zero (mremap). What was there
  /// is overwritten. The two ranges must not overlap: invalid_argument.
  [[nodiscard]] Errc move(PageRange from, PageNumber to) noexcept;

  /// `copy` becomes a copy of this map (fork). On failure it stays what it was.
  [[nodiscard]] Errc clone_into(PageMap& copy) const noexcept {
    if (&copy == this) return Errc::ok;
    PageMap fresh(copy.blocks_.allocator());
    if (!blocks_.copy_into(fresh.blocks_)) return Errc::out_of_memory;
    copy = static_cast<PageMap&&>(fresh);
    return Errc::ok;
  }
  /// All pages are zero, all memory is given back.
  void clear() noexcept { blocks_.clear(); }

 private:
  using Blocks = detail::RunBlocks<A, BlockRuns>;
  using Cursor = typename Blocks::Cursor;

  [[nodiscard]] Cursor first_ending_after(PageNumber page) const noexcept {
    const Cursor at = blocks_.first_from(page);
    if (at == Cursor{0, 0}) return at;
    const Cursor before = blocks_.previous(at);
    return blocks_[before].range.end() > page ? before : at;
  }
  [[nodiscard]] Errc change(PageRange range, const PageRun* middle) noexcept;

  Blocks blocks_;
};

/// Replaces whatever lies in `range` by `middle` (null: by nothing): the runs from `from` to `to`
/// give way to at most three pieces: what stays left of the range, the middle, what stays right.
/// Leaves reserved blocks alone: `move` lives on them.
template <Allocator A, unsigned BlockRuns>
Errc PageMap<A, BlockRuns>::change(PageRange range, const PageRun* middle) noexcept {
  if (range.empty()) return Errc::ok;
  Cursor from = first_ending_after(range.first);
  Cursor to = blocks_.first_from(range.end());
  if (middle == nullptr && from == to) return Errc::ok;

  PageRun pieces[3];
  unsigned count = 0;
  const auto push = [&](const PageRun& run) {
    if (count > 0 && pieces[count - 1].continues_in(run)) {
      pieces[count - 1].range.count += run.range.count;
    } else {
      pieces[count++] = run;
    }
  };

  if (from != to && blocks_[from].range.first < range.first) {
    const PageRun& cut = blocks_[from];
    push(cut.part({cut.range.first, range.first - cut.range.first}));
  } else if (middle != nullptr && from != Cursor{0, 0}) {
    const Cursor before = blocks_.previous(from);
    if (blocks_[before].continues_in(*middle)) {
      push(blocks_[before]);
      from = before;
    }
  }
  // Taken before `to` moves: `last` is the last run that is cut, where any is.
  const Cursor last = from != to ? blocks_.previous(to) : to;
  if (middle != nullptr) push(*middle);
  if (from != to && blocks_[last].range.end() > range.end()) {
    const PageRun& cut = blocks_[last];
    push(cut.part({range.end(), cut.range.end() - range.end()}));
  } else if (middle != nullptr && to != blocks_.end() &&
             pieces[count - 1].continues_in(blocks_[to])) {
    push(blocks_[to]);
    to = blocks_.next(to);
  }

  if (blocks_.needs_block(from, to, count) && !blocks_.reserve(1)) return Errc::out_of_memory;
  blocks_.replace(from, to, pieces, count);
  return Errc::ok;
}

template <Allocator A, unsigned BlockRuns>
Errc PageMap<A, BlockRuns>::move(PageRange from, PageNumber to) noexcept {
  const PageRange target{to, from.count};
  if (from.empty()) return Errc::ok;
  if (!intersect(from, target).empty()) return Errc::invalid_argument;

  // Everything that could fail first. Inserting in ascending order splits a block at most once
  // in half a block of insertions; the three cuts (target, both ends) may split one block each.
  std::size_t runs = 0;
  for_each(from, [&runs](const PageRun&) { ++runs; });
  if (!blocks_.reserve(runs / (BlockRuns / 2) + 4)) return Errc::out_of_memory;

  Errc done = change(target, nullptr);
  while (done == Errc::ok) {
    const Cursor at = first_ending_after(from.first);
    if (at == blocks_.end() || blocks_[at].range.first >= from.end()) break;
    PageRun run = blocks_[at].part(from);
    const PageRange left = run.range;
    run.range.first = to + (left.first - from.first);
    done = change(left, nullptr);
    if (done == Errc::ok) done = change(run.range, &run);
  }
  blocks_.trim();
  return done;
}

}  // namespace mitosis
