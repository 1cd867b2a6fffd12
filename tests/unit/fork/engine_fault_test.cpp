// SPDX-License-Identifier: MIT
// What the engine plans for a fault.
#include "scene.hpp"

namespace mitosis::test {
namespace {

using OnDemandOnly = Policy<Fetch<OnDemand>>;
using Window8 = Policy<Fetch<Prefetch<8>>>;
using Shared8 = Policy<Fetch<Prefetch<8>>, Cache<Local>>;

TEST(Fault, OfAPageInNoRunIsAZero) {
  Loaded<Window8> t;
  EXPECT_EQ(t.fault(155).action, Action::zero);  // in the hole between two runs
  EXPECT_EQ(t.plan.range, (PageRange{page(155), 1}));
  EXPECT_EQ(t.plan.count, 0u);
  EXPECT_EQ(t.fault(99999).action, Action::zero);  // in no VMA of the parent: the child's own
}

TEST(Fault, OnDemandReadsThePageAlone) {
  Loaded<OnDemandOnly> t;
  EXPECT_EQ(t.fault(205).action, Action::read);
  ASSERT_EQ(t.plan.count, 1u);
  const Read& read = t.plan.reads[0];
  EXPECT_EQ(read.pages, (PageRange{page(205), 1}));
  EXPECT_EQ(read.owner, 1);
  EXPECT_EQ(read.source, page(5005));  // as the owner numbers it
  EXPECT_EQ(read.key, page(205));      // as the descriptor does
  EXPECT_EQ(read.lane, Lane::demand);
}

TEST(Fault, PrefetchReadsTheNextAbsentPagesOfTheVmaWithTheSameDoorbell) {
  Loaded<Window8> t;
  t.fault(147);
  ASSERT_EQ(t.plan.count, 3u);
  EXPECT_EQ(t.plan.reads[0].pages, (PageRange{page(147), 1}));
  EXPECT_EQ(t.plan.reads[0].lane, Lane::demand);
  EXPECT_EQ(t.plan.reads[1].pages, (PageRange{page(148), 2}));
  EXPECT_EQ(t.plan.reads[1].lane, Lane::bulk);
  EXPECT_EQ(t.plan.reads[2].pages, (PageRange{page(160), 6}));  // the hole is skipped
}

TEST(Fault, PrefetchEndsWithTheVma) {
  Loaded<Window8> t;
  t.fault(397);
  ASSERT_EQ(t.plan.count, 2u);
  EXPECT_EQ(t.plan.reads[1].pages, (PageRange{page(398), 2}));  // page 400 is another VMA's
}

TEST(Fault, AReadIsOfOneOwner) {
  Loaded<Window8> t;
  t.fault(196);
  ASSERT_EQ(t.plan.count, 3u);
  EXPECT_EQ(t.plan.reads[1].pages, (PageRange{page(197), 3}));
  EXPECT_EQ(t.plan.reads[1].owner, 0);
  EXPECT_EQ(t.plan.reads[2].pages, (PageRange{page(200), 5}));
  EXPECT_EQ(t.plan.reads[2].owner, 1);
  EXPECT_EQ(t.plan.reads[2].source, page(5000));
}

TEST(Fault, OnAPageInFlightWaits) {
  Loaded<Window8> t;
  t.fault(100);
  EXPECT_EQ(t.fault(103).action, Action::wait);
  EXPECT_EQ(t.plan.why, Wait::in_flight);
  EXPECT_EQ(t.plan.count, 0u);
}

TEST(Fault, WhenAllSlotsAreTakenWaits) {
  Loaded<OnDemandOnly> t;
  for (std::uint64_t n = 0; n < max_ops; ++n) EXPECT_EQ(t.fault(200 + n).action, Action::read);
  EXPECT_EQ(t.fault(300).action, Action::wait);
  EXPECT_EQ(t.plan.why, Wait::no_slot);
  t.complete(0);
  EXPECT_EQ(t.fault(300).action, Action::read);
}

TEST(Fault, PrefetchLeavesSlotsToDemandReads) {
  Loaded<Window8> t;
  for (std::uint64_t n = 0; n < 40; ++n) t.fault(399 - 5 * n);
  EXPECT_LE(t.engine.ops().used(), max_ops);
  unsigned demand = 0;
  t.engine.ops().for_each(
      [&](OpId id) { demand += t.engine.op(id).kind == OpKind::demand ? 1u : 0u; });
  EXPECT_EQ(demand, 40u);  // none had to wait for a prefetch
}

TEST(Fault, OnCachedPagesMapsAllInARow) {
  Loaded<Shared8> t;
  t.shelf.set({page(210), 30}, CacheState::present);
  EXPECT_EQ(t.fault(212).action, Action::map_cached);
  EXPECT_EQ(t.plan.range, (PageRange{page(212), 28}));
  EXPECT_EQ(t.plan.key, page(212));
  EXPECT_EQ(t.plan.count, 0u);
  t.engine.on_mapped(t.plan.range, t.plan.key);
  // One that faults again, because the system has unmapped it, is mapped again.
  EXPECT_EQ(t.fault(215).action, Action::map_cached);
  EXPECT_EQ(t.plan.range, (PageRange{page(215), 1}));
}

TEST(Fault, OnAPageThatAnotherChildFetchesWaits) {
  Loaded<Shared8> t;
  t.shelf.set({page(210), 2}, CacheState::filling);
  EXPECT_EQ(t.fault(211).action, Action::wait);
  EXPECT_EQ(t.plan.why, Wait::filling);
  EXPECT_EQ(t.plan.key, page(211));
}

TEST(Fault, PrefetchSkipsWhatTheCacheHasOrGets) {
  Loaded<Shared8> t;
  t.shelf.set({page(212), 3}, CacheState::present);
  t.shelf.set({page(217), 1}, CacheState::filling);
  t.fault(210);
  ASSERT_EQ(t.plan.count, 4u);
  EXPECT_EQ(t.plan.reads[1].pages, (PageRange{page(211), 1}));
  EXPECT_EQ(t.plan.reads[2].pages, (PageRange{page(215), 2}));
  EXPECT_EQ(t.plan.reads[3].pages, (PageRange{page(218), 5}));
  for (unsigned i = 0; i < t.plan.count; ++i) EXPECT_TRUE(t.plan.reads[i].fill);
  EXPECT_EQ(t.shelf.state(page(219)), CacheState::filling);
}

TEST(Fault, BeyondTheCachesBudgetReadsForTheChildAlone) {
  Loaded<Shared8> t;
  t.shelf.full = true;
  EXPECT_EQ(t.fault(210).action, Action::read);
  EXPECT_FALSE(t.plan.reads[0].fill);
  EXPECT_EQ(t.shelf.state(page(210)), CacheState::absent);  // nobody is promised anything
}

TEST(Fault, WithoutMemoryToMarkThePageFails) {
  Loaded<OnDemandOnly> t;
  // Use up the map's spare memory: every other page makes two more runs.
  FragileHeap::failing = true;
  Errc seen = Errc::ok;
  for (std::uint64_t n = 200; n < 400 && seen == Errc::ok; n += 2) {
    if (t.fault(n).action == Action::fail) seen = t.plan.error;
    if (t.plan.action == Action::read) t.complete(t.plan.reads[0].op);
  }
  FragileHeap::failing = false;
  EXPECT_EQ(seen, Errc::out_of_memory);
}

}  // namespace
}  // namespace mitosis::test
