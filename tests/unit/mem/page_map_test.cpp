// SPDX-License-Identifier: MIT
// PageMap says of every page what a plain map of pages says, whatever is done to it, survives
// every failing allocation, and costs by runs. World: user.
#include <gtest/gtest.h>

#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/mem/page_map.hpp>

#include "test_allocator.hpp"

#include <map>
#include <random>
#include <vector>

namespace mitosis {
namespace {

using test::Memory;
using test::TestAllocator;
using SmallMap = PageMap<TestAllocator, 8>;  // small blocks: splits and merges all the time

PageValue remote(std::uint64_t source, std::uint16_t owner = 0) {
  return {PageState::remote, owner, 0, PageNumber{source}};
}
PageRange pages(std::uint64_t first, std::uint64_t count) {
  return {PageNumber{first}, count};
}

TEST(PageMap, WhatIsInNoRunIsZero) {
  PageMap<HeapAllocator> map;
  EXPECT_FALSE(map.find(PageNumber{5}));
  EXPECT_FALSE(map.next_at_or_after(PageNumber{0}));
  ASSERT_EQ(map.assign(pages(10, 4), remote(110)), Errc::ok);
  EXPECT_FALSE(map.find(PageNumber{9}));
  EXPECT_FALSE(map.find(PageNumber{14}));
  ASSERT_TRUE(map.find(PageNumber{13}));
  EXPECT_EQ(map.find(PageNumber{13})->range, pages(10, 4));
  EXPECT_EQ(map.next_at_or_after(PageNumber{3})->range, pages(10, 4));
}

TEST(PageMap, AssignInTheMiddleSplitsAndTheSourceGoesOn) {
  PageMap<HeapAllocator> map;
  ASSERT_EQ(map.assign(pages(0, 10), remote(100)), Errc::ok);
  ASSERT_EQ(map.assign(pages(4, 2), {PageState::in_flight, 0, 7, PageNumber{104}}), Errc::ok);
  EXPECT_EQ(map.size(), 3u);
  EXPECT_EQ(map.find(PageNumber{5})->value.op, 7u);
  EXPECT_EQ(map.find(PageNumber{6})->value.source, PageNumber{106});
  // The read failed: remote as before, and one run again.
  ASSERT_EQ(map.assign(pages(4, 2), remote(104)), Errc::ok);
  EXPECT_EQ(map.size(), 1u);
  EXPECT_EQ(map.find(PageNumber{9})->range, pages(0, 10));
}

TEST(PageMap, PresentPagesCoalesceWhereverTheyCameFrom) {
  PageMap<HeapAllocator> map;
  ASSERT_EQ(map.assign(pages(0, 1), {PageState::present, 1, 9, PageNumber{77}}), Errc::ok);
  ASSERT_EQ(map.assign(pages(1, 1), {PageState::present, 2, 0, PageNumber{5}}), Errc::ok);
  EXPECT_EQ(map.size(), 1u);
  // Remote ones only where they are one source's consecutive pages.
  ASSERT_EQ(map.assign(pages(2, 1), remote(5)), Errc::ok);
  ASSERT_EQ(map.assign(pages(3, 1), remote(7)), Errc::ok);
  ASSERT_EQ(map.assign(pages(4, 1), remote(8, 1)), Errc::ok);
  EXPECT_EQ(map.size(), 4u);
}

TEST(PageMap, MoveTakesStateAlongAndOverwrites) {
  PageMap<HeapAllocator> map;
  ASSERT_EQ(map.assign(pages(0, 8), remote(100)), Errc::ok);
  ASSERT_EQ(map.assign(pages(50, 20), remote(500)), Errc::ok);
  ASSERT_EQ(map.move(pages(2, 4), PageNumber{60}), Errc::ok);
  EXPECT_FALSE(map.find(PageNumber{3}));
  EXPECT_EQ(map.find(PageNumber{61})->value.source, PageNumber{102});
  EXPECT_EQ(map.find(PageNumber{61})->range, pages(60, 4));
  EXPECT_EQ(map.find(PageNumber{64})->value.source, PageNumber{514});
  // A hole moves as a hole.
  ASSERT_EQ(map.move(pages(2, 4), PageNumber{60}), Errc::ok);
  EXPECT_FALSE(map.find(PageNumber{61}));
  EXPECT_EQ(map.move(pages(50, 4), PageNumber{52}), Errc::invalid_argument);
}

TEST(PageMap, ForEachClipsAndCanEndEarly) {
  PageMap<HeapAllocator> map;
  for (std::uint64_t i = 0; i < 10; ++i) {
    ASSERT_EQ(map.assign(pages(i * 10, 5), remote(i * 1000)), Errc::ok);
  }
  std::vector<PageRun> seen;
  map.for_each(pages(13, 30), [&](const PageRun& run) { seen.push_back(run); });
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0], (PageRun{pages(13, 2), remote(1003)}));
  EXPECT_EQ(seen[3], (PageRun{pages(40, 3), remote(4000)}));
  int calls = 0;
  map.for_each(pages(0, 100), [&](const PageRun&) { return ++calls < 3; });
  EXPECT_EQ(calls, 3);
}

// ---- against a reference model ------------------------------------------------------------

/// The same, page by page.
class Model {
 public:
  std::map<std::uint64_t, PageValue> pages;

  void assign(PageRange r, PageValue v) {
    for (std::uint64_t i = 0; i < r.count; ++i) pages[index(r.first) + i] = v.normal().after(i);
  }
  void erase(PageRange r) {
    pages.erase(pages.lower_bound(index(r.first)), pages.lower_bound(index(r.end())));
  }
  void move(PageRange from, PageNumber to) {
    std::map<std::uint64_t, PageValue> taken;
    for (std::uint64_t i = 0; i < from.count; ++i) {
      const auto at = pages.find(index(from.first) + i);
      if (at != pages.end()) taken[index(to) + i] = at->second;
    }
    erase(from);
    erase({to, from.count});
    pages.merge(taken);
  }
  /// The runs, as few as can be.
  std::vector<PageRun> runs() const {
    std::vector<PageRun> list;
    for (const auto& [page, value] : pages) {
      const PageRun one{{PageNumber{page}, 1}, value};
      if (!list.empty() && list.back().continues_in(one)) {
        ++list.back().range.count;
      } else {
        list.push_back(one);
      }
    }
    return list;
  }
};

template <class Map>
std::vector<PageRun> runs_of(const Map& map) {
  std::vector<PageRun> list;
  map.for_each({PageNumber{0}, std::uint64_t{1} << 52},
               [&list](const PageRun& run) { list.push_back(run); });
  return list;
}

struct Op {
  enum Kind { assign, erase, move } kind;
  PageRange range;
  PageValue value;
  PageNumber to;
};

Op random_op(std::mt19937_64& random, std::uint64_t span) {
  const auto below = [&random](std::uint64_t n) { return random() % n; };
  Op op{};
  const std::uint64_t longest = below(10) == 0 ? span / 2 : 6;
  op.range = pages(below(span), 1 + below(longest));
  const auto kind = below(20);
  op.kind = kind < 13 ? Op::assign : kind < 18 ? Op::erase : Op::move;
  op.value = {PageState(1 + below(5)), static_cast<std::uint16_t>(below(2)),
              static_cast<std::uint32_t>(below(2)), op.range.first + 1000 * below(2)};
  op.to = PageNumber{below(span)};
  return op;
}

template <class Map>
Errc apply(Map& map, const Op& op) {
  switch (op.kind) {
    case Op::assign:
      return map.assign(op.range, op.value);
    case Op::erase:
      return map.erase(op.range);
    case Op::move:
      break;
  }
  return map.move(op.range, op.to);
}
void apply(Model& model, const Op& op) {
  if (op.kind == Op::assign) model.assign(op.range, op.value);
  if (op.kind == Op::erase) model.erase(op.range);
  if (op.kind == Op::move) model.move(op.range, op.to);
}

template <class Map>
void compare_pages(const Map& map, const Model& model, std::uint64_t span) {
  for (std::uint64_t p = 0; p < span + 10; ++p) {
    const auto run = map.find(PageNumber{p});
    const auto at = model.pages.find(p);
    ASSERT_EQ(run.has_value(), at != model.pages.end()) << p;
    if (run) {
      ASSERT_EQ(run->value.after(PageNumber{p} - run->range.first), at->second) << p;
    }
    const auto next = map.next_at_or_after(PageNumber{p});
    const auto after = model.pages.lower_bound(p);
    ASSERT_EQ(next.has_value(), after != model.pages.end()) << p;
    if (next) {
      ASSERT_TRUE(next->range.contains(PageNumber{after->first})) << p;
    }
  }
}

template <class Map>
void random_walk(std::uint64_t seed, std::uint64_t span, int steps) {
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  Memory memory;
  {
    Map map(TestAllocator{&memory});
    Model model;
    for (int step = 0; step < steps; ++step) {
      const Op op = random_op(random, span);
      const Errc done = apply(map, op);
      if (done == Errc::invalid_argument) continue;  // an overlapping move
      ASSERT_EQ(done, Errc::ok);
      apply(model, op);
      const auto expected = model.runs();
      ASSERT_EQ(runs_of(map), expected) << "step " << step;
      ASSERT_EQ(map.size(), expected.size());
      if (step % 64 == 0) compare_pages(map, model, span);
    }
    Map copy(TestAllocator{&memory});
    ASSERT_EQ(map.clone_into(copy), Errc::ok);
    const auto before = runs_of(map);
    ASSERT_EQ(runs_of(copy), before);
    ASSERT_EQ(copy.erase({PageNumber{0}, span * 2}), Errc::ok);
    ASSERT_EQ(runs_of(map), before);
    Map taken = std::move(map);
    ASSERT_EQ(runs_of(taken), before);
  }
  ASSERT_EQ(memory.bytes, 0u);
}

TEST(PageMapProperty, AgreesWithAMapOfPages) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    random_walk<SmallMap>(seed, 40 + 17 * (seed % 20), 300);
    if (HasFatalFailure()) return;
  }
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    random_walk<PageMap<TestAllocator>>(seed, 1500, 1200);
    if (HasFatalFailure()) return;
  }
}

TEST(PageMapProperty, AFailedAllocationChangesNothing) {
  std::size_t failures = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    Memory memory;
    {
      SmallMap map(TestAllocator{&memory});
      for (int step = 0; step < 250; ++step) {
        const Op op = random_op(random, 300);
        // Fail at the first allocation, then at the second, ..., until it succeeds.
        for (std::int64_t allowed = 0;; ++allowed) {
          const auto before = runs_of(map);
          memory.allocations_left = allowed;
          const Errc done = apply(map, op);
          memory.allocations_left = -1;
          if (done != Errc::out_of_memory) break;
          ++failures;
          ASSERT_EQ(runs_of(map), before);
          ASSERT_EQ(map.size(), before.size());
        }
        if (step % 50 != 0) continue;
        for (std::int64_t allowed = 0;; ++allowed) {
          SmallMap copy(TestAllocator{&memory});
          memory.allocations_left = allowed;
          const Errc done = map.clone_into(copy);
          memory.allocations_left = -1;
          ASSERT_EQ(copy.size(), done == Errc::ok ? map.size() : 0);
          if (done == Errc::ok) break;
        }
      }
    }
    ASSERT_EQ(memory.bytes, 0u);
  }
  EXPECT_GT(failures, 1000u) << "the test has lost its teeth";
}

// ---- costs --------------------------------------------------------------------------------

TEST(PageMapCost, AGibibyteCostsWhat64MebibytesCost) {
  const auto cost = [](std::uint64_t bytes) {
    Memory memory;
    PageMap<TestAllocator> map(TestAllocator{&memory});
    EXPECT_EQ(map.assign(pages(1000, bytes / page_size), remote(1000)), Errc::ok);
    // One fault in the middle, with its prefetch.
    const PageRange window = pages(1000 + bytes / page_size / 2, 9);
    EXPECT_EQ(map.assign(window, {PageState::in_flight, 0, 1, window.first}), Errc::ok);
    EXPECT_EQ(map.assign(window, {PageState::present, 0, 0, {}}), Errc::ok);
    EXPECT_EQ(map.size(), 3u);
    return std::tuple(memory.allocations, memory.bytes, memory.moved);
  };
  EXPECT_EQ(cost(std::uint64_t{1} << 30), cost(std::uint64_t{64} << 20));
}

TEST(PageMapCost, OneChangeMovesAFewBlocksAtMost) {
  Memory memory;
  PageMap<TestAllocator> map(TestAllocator{&memory});
  std::mt19937_64 random(1);
  constexpr int changes = 100'000;
  std::size_t most = 0;
  for (int i = 0; i < changes; ++i) {
    const std::size_t before = memory.moved;
    // Sources at random: nothing coalesces, which is the worst case.
    ASSERT_EQ(map.assign(pages(random() % 10'000'000, 1), remote(random() % 1'000'000)), Errc::ok);
    most = std::max(most, memory.moved - before);
  }
  const std::size_t runs = map.size();
  ASSERT_GT(runs, 99'000u);
  // Half a block on average, now and then the index of blocks.
  EXPECT_LT(memory.moved / changes, 100u);
  EXPECT_LT(most, std::size_t{3} * 63 + 2 * runs / 16);
  // 32 bytes a run in blocks that are at least a quarter full, in practice two thirds.
  EXPECT_LT(memory.bytes, runs * sizeof(PageRun) * 2);
  // As pages are erased, range by range, the memory goes back.
  for (std::uint64_t p = 0; p < 10'000'000; p += 1000) {
    ASSERT_EQ(map.erase(pages(p, 990)), Errc::ok);
  }
  EXPECT_LT(memory.bytes, map.size() * sizeof(PageRun) * 8 + (1u << 17));
}

TEST(PageMapCost, FillingInOrderFillsBlocksDensely) {
  Memory memory;
  PageMap<TestAllocator> map(TestAllocator{&memory});
  for (std::uint64_t i = 0; i < 6300; ++i) {
    ASSERT_EQ(map.assign(pages(2 * i, 1), remote(i)), Errc::ok);
  }
  // 100 blocks, the index, a spare.
  EXPECT_LT(memory.bytes, 6300 * sizeof(PageRun) * 11 / 10);
}

}  // namespace
}  // namespace mitosis
