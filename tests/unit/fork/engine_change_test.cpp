// SPDX-License-Identifier: MIT
// What becomes of pages that change while a read is out, and how reads end.
#include "scene.hpp"

namespace mitosis::test {
namespace {

using OnDemandOnly = Policy<Fetch<OnDemand>>;
using Window8 = Policy<Fetch<Prefetch<8>>>;

TEST(Change, RemovedPagesAreNeverInstalled) {
  Loaded<Window8> t;
  t.fault(200);
  t.engine.on_removed({page(203), 2});
  EXPECT_EQ(t.complete(t.plan.reads[1].op), 6u);  // 8 less 2
  EXPECT_EQ(t.fault(203).action, Action::zero);
}

TEST(Change, MovedPagesAreFetchedAgainForTheirNewPlace) {
  Loaded<OnDemandOnly> t;
  const OpId first = t.fault(205).reads[0].op;
  t.engine.on_moved({page(204), 4}, page(9000));
  EXPECT_EQ(t.complete(first), 0u);
  EXPECT_EQ(t.fault(205).action, Action::zero);
  EXPECT_EQ(t.fault(9001).action, Action::read);
  EXPECT_EQ(t.plan.reads[0].key, page(205));
  EXPECT_EQ(t.plan.reads[0].source, page(5005));
  EXPECT_EQ(t.plan.reads[0].owner, 1);
}

TEST(Change, ALateReadDoesNotServeALaterOneOfTheSamePage) {
  Loaded<OnDemandOnly> t;
  const OpId first = t.fault(205).reads[0].op;
  t.engine.on_moved({page(205), 1}, page(9000));
  t.engine.on_moved({page(300), 1}, page(205));  // another page has taken its place
  const OpId second = t.fault(205).reads[0].op;
  EXPECT_EQ(t.plan.reads[0].source, page(5100));
  EXPECT_EQ(t.complete(first), 0u);
  EXPECT_EQ(t.complete(second), 1u);
}

TEST(Change, PrefetchOfAMovedPieceEndsWithTheVmaItCameFrom) {
  Loaded<Window8> t;
  t.engine.on_moved({page(396), 4}, page(9000));
  t.engine.on_moved({page(400), 4}, page(9004));
  t.fault(9001);
  ASSERT_EQ(t.plan.count, 2u);
  EXPECT_EQ(t.plan.reads[1].pages, (PageRange{page(9002), 2}));
}

TEST(Change, AForkedProcessFetchesForItselfWhatIsInFlight) {
  Loaded<OnDemandOnly> t;
  const OpId id = t.fault(205).reads[0].op;
  t.engine.on_removed({page(210), 1});
  Engine<OnDemandOnly, FragileHeap> copy{FragileHeap{}};
  ASSERT_EQ(t.engine.fork_into(copy), Errc::ok);
  EXPECT_EQ(t.complete(id), 1u);
  Plan plan;
  copy.on_fault(page(205), t.shelf, plan);
  EXPECT_EQ(plan.action, Action::read);
  copy.on_fault(page(210), t.shelf, plan);
  EXPECT_EQ(plan.action, Action::zero);
}

TEST(Change, ARemovalThatCannotBeMarkedBreaksTheEngine) {
  Loaded<OnDemandOnly> t;
  FragileHeap::failing = true;
  for (std::uint64_t n = 200; n < 400 && t.engine.broken() == Errc::ok; n += 2) {
    t.engine.on_removed({page(n), 1});
  }
  FragileHeap::failing = false;
  EXPECT_EQ(t.engine.broken(), Errc::out_of_memory);
  EXPECT_EQ(t.fault(150).action, Action::fail);  // no byte is better than a wrong one
  EXPECT_EQ(t.fault(399).action, Action::fail);
}

TEST(Change, SnapshotTellsWhoHoldsWhat) {
  Loaded<OnDemandOnly> t;
  t.engine.on_removed({page(100), 50});
  const OpId id = t.fault(160).reads[0].op;
  t.complete(id);      // here: no ancestor's any more
  (void)t.fault(161);  // in flight: still an ancestor's
  t.engine.on_moved({page(190), 20}, page(9000));
  std::vector<std::pair<PageRange, std::pair<unsigned, PageNumber>>> seen;
  t.engine.snapshot([&](PageRange range, std::uint16_t owner, PageNumber source, bool) {
    seen.push_back({range, {owner, source}});
  });
  ASSERT_EQ(seen.size(), 6u);
  EXPECT_EQ(seen[0].first, (PageRange{page(161), 1}));
  EXPECT_EQ(seen[1].first, (PageRange{page(162), 28}));
  EXPECT_EQ(seen[2].first, (PageRange{page(210), 190}));
  EXPECT_EQ(seen[2].second.second, page(5010));
  EXPECT_EQ(seen[3].first, (PageRange{page(400), 20}));
  EXPECT_EQ(seen[4].first, (PageRange{page(9000), 10}));
  EXPECT_EQ(seen[4].second.second, page(190));
  EXPECT_EQ(seen[5].first, (PageRange{page(9010), 10}));
  EXPECT_EQ(seen[5].second.second, page(5000));
}

TEST(Change, CarriedFilesAreTheNearestAncestors) {
  Loaded<OnDemandOnly> t;
  ASSERT_EQ(t.engine.carry({page(148), 14}), Errc::ok);
  EXPECT_EQ(t.fault(155).action, Action::read);
  EXPECT_EQ(t.plan.reads[0].owner, 0);
  EXPECT_EQ(t.plan.reads[0].source, page(155));
}

TEST(Verdict, OfADemandRead) {
  Loaded<OnDemandOnly> t;
  const OpId id = t.fault(205).reads[0].op;
  EXPECT_EQ(t.engine.on_read(id, Errc::connection_lost), Verdict::fallback);
  EXPECT_EQ(t.engine.on_read(id, Errc::connection_lost), Verdict::retry);
  EXPECT_EQ(t.engine.on_read(id, Errc::timed_out), Verdict::fallback);
  EXPECT_EQ(t.engine.on_read(id, Errc::ok), Verdict::install);
}

TEST(Verdict, TheOwnersNoIsFinal) {
  Loaded<OnDemandOnly> t;
  const OpId id = t.fault(205).reads[0].op;
  EXPECT_EQ(t.engine.on_read(id, Errc::revoked), Verdict::fail);
  EXPECT_TRUE(t.engine.finish(id));
  EXPECT_EQ(t.fault(205).action, Action::read);  // who faults again asks again
}

TEST(Verdict, NobodyInsistsOnAPrefetch) {
  Loaded<Window8> t;
  t.fault(200);
  EXPECT_EQ(t.engine.on_read(t.plan.reads[1].op, Errc::connection_lost), Verdict::drop);
  EXPECT_TRUE(t.engine.finish(t.plan.reads[1].op));
  EXPECT_EQ(t.fault(203).action, Action::read);
}

TEST(Verdict, NorOnAPageThatIsNotWantedAnyMore) {
  Loaded<OnDemandOnly> t;
  const OpId id = t.fault(205).reads[0].op;
  t.engine.on_removed({page(205), 1});
  EXPECT_EQ(t.engine.on_read(id, Errc::connection_lost), Verdict::drop);
}

TEST(EagerStart, BringsEveryPageOnce) {
  Loaded<Policy<Fetch<Eager>>> t;
  std::uint64_t pages = 0;
  for (int round = 0; round < 100 && !t.engine.all_present(); ++round) {
    t.engine.next_eager(t.shelf, t.plan);
    EXPECT_LE(t.engine.ops().used(), max_eager_ops);
    for (unsigned i = 0; i < t.plan.count; ++i) pages += t.complete(t.plan.reads[i].op);
  }
  EXPECT_TRUE(t.engine.all_present());
  EXPECT_EQ(pages, 50u + 40 + 200 + 20);
}

TEST(EagerStart, GoesPageByPageOverWhatFailed) {
  Loaded<Policy<Fetch<Eager>>> t;
  t.engine.next_eager(t.shelf, t.plan);
  const OpId id = t.plan.reads[0].op;
  const PageRange failed = t.engine.op(id).pages;
  EXPECT_EQ(t.engine.on_read(id, Errc::connection_lost), Verdict::drop);
  t.engine.finish(id);
  EXPECT_FALSE(t.engine.all_present());
  t.engine.next_eager(t.shelf, t.plan);
  ASSERT_GE(t.plan.count, 1u);
  EXPECT_EQ(t.plan.reads[0].pages, (PageRange{failed.first, 1}));
  EXPECT_EQ(t.engine.op(t.plan.reads[0].op).kind, OpKind::demand);
}

}  // namespace
}  // namespace mitosis::test
