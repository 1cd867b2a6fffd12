// SPDX-License-Identifier: MIT
// What one child fetched first, the next one of the same parent gets ahead of its faults.
#include "scripted_platform.hpp"

#include <mitosis/fork/working_set.hpp>

namespace mitosis::test {
namespace {

using Window8 = Policy<Fetch<Prefetch<8>>>;
using Shared8 = Policy<Fetch<Prefetch<8>>, Cache<Local>>;
using OnDemandOnly = Policy<Fetch<OnDemand>>;
constexpr Time late{1'000'000'000};

std::uint64_t pages_posted(const Script& script) {
  std::uint64_t bytes = 0;
  for (const ReadRequest& read : script.posted) bytes += read.bytes;
  return bytes / page_size;
}

TEST(WorkingSet, HasEachPageOnceInTheOrderOfFetches) {
  WorkingSet set;
  set.add({page(50), 1});
  set.add({page(51), 8});
  set.add({page(10), 4});
  set.add({page(55), 1});  // is there
  ASSERT_EQ(set.size(), 2u);
  EXPECT_EQ(set[0], (PageRange{page(50), 9}));
  EXPECT_EQ(set[1], (PageRange{page(10), 4}));
  EXPECT_EQ(set.pages(), 13u);
}

TEST(WorkingSet, IsBounded) {
  WorkingSet set;
  for (std::uint64_t i = 0; i < 2 * WorkingSet::max_ranges; ++i) set.add({page(10 * i), 1});
  EXPECT_EQ(set.size(), WorkingSet::max_ranges);
  WorkingSet large;
  large.add({page(1), WorkingSet::max_pages});
  large.add({page(100'000), 1});
  EXPECT_EQ(large.pages(), WorkingSet::max_pages);
}

TEST(Foreseen, TheSecondChildGetsWhatTheFirstOneFetched) {
  WorkingSet known;
  Driven<Window8> first, second;
  first.child.foresee(known, late);
  EXPECT_TRUE(first.script.posted.empty());
  first.child.on_fault(page(300));
  first.child.on_fault(page(100));
  first.complete_all();

  second.child.foresee(known, late);
  EXPECT_EQ(pages_posted(second.script), 18u);
  EXPECT_EQ(second.script.posted[0].remote_address, address(page(5100)));  // in that order
  for (const ReadRequest& read : second.script.posted) EXPECT_EQ(read.lane, Lane::bulk);
  const std::size_t out = second.script.posted.size();
  second.child.on_fault(page(101));  // is on its way: waits, and asks for nothing
  EXPECT_EQ(second.script.posted.size(), out);
  second.complete_all();
  EXPECT_EQ(second.script.installed, (std::vector<PageRange>{{page(300), 9}, {page(100), 9}}));
  EXPECT_TRUE(second.child.idle());
  EXPECT_EQ(second.script.landings, 0u);
}

TEST(Foreseen, AChildGetsTheBeginningAndMoreEachTimeItWaits) {
  WorkingSet known;
  known.add({page(160), 240});
  known.add({page(100), 50});
  known.add({page(400), 20});
  Driven<Window8> t;
  t.child.foresee(known, late);
  t.complete_all();
  EXPECT_EQ(t.child.stats().fetched, Foreseen::first_pages);
  t.child.on_fault(page(160 + Foreseen::first_pages));
  t.complete_all();
  EXPECT_EQ(t.child.stats().fetched, 310u);  // all that there is
  t.child.on_fault(page(1000));              // zeros: nothing that it waits for
  EXPECT_TRUE(t.child.idle());
}

TEST(Foreseen, AfterTheFirstMomentsNothingIsRecorded) {
  WorkingSet known;
  Driven<Window8> t;
  t.child.foresee(known, late);
  t.script.now = late;
  t.child.on_fault(page(300));
  EXPECT_EQ(known.size(), 0u);
}

TEST(Foreseen, OnDemandMeansTheFaultingPageAlone) {
  WorkingSet known;
  known.add({page(300), 9});
  Driven<OnDemandOnly> t;
  t.child.foresee(known, late);
  EXPECT_TRUE(t.script.posted.empty());
  t.child.on_fault(page(100));
  EXPECT_EQ(known.pages(), 9u);
}

TEST(Foreseen, APageThatTheChildHasGivenUpIsNotFetched) {
  WorkingSet known;
  known.add({page(300), 9});
  Driven<Window8> t;
  t.child.on_removed({page(302), 3});
  t.child.on_unmapped({page(307), 100});
  t.child.foresee(known, late);
  EXPECT_EQ(pages_posted(t.script), 4u);
  t.child.on_removed({page(300), 1});  // while it is on its way
  t.complete_all();
  EXPECT_EQ(t.script.installed, (std::vector<PageRange>{{page(301), 1}, {page(305), 2}}));
}

TEST(Foreseen, FewReadsAreOutAtATimeAndAllComeInTheEnd) {
  WorkingSet known;
  for (std::uint64_t i = 0; i < 40; ++i) known.add({page(200 + 4 * i), 2});
  Driven<Window8> t;
  t.child.foresee(known, late);
  EXPECT_EQ(t.script.posted.size(), max_foreseen_ops);
  t.complete(Errc::connection_lost);  // is forgotten: its fault will ask again
  t.complete_all();
  EXPECT_EQ(t.child.stats().fetched, 78u);
  t.child.on_fault(page(200));
  EXPECT_FALSE(t.script.posted.empty());
  t.complete_all();
  EXPECT_TRUE(t.child.idle());
}

TEST(Foreseen, WithoutALandingItComesByItsFault) {
  WorkingSet known;
  known.add({page(300), 9});
  Driven<Window8> t;
  t.script.landing_limit = 0;
  t.child.foresee(known, late);
  EXPECT_TRUE(t.script.posted.empty());
  t.script.landing_limit = 100;
  t.child.on_fault(page(300));
  EXPECT_EQ(pages_posted(t.script), 9u);
  t.complete_all();
  EXPECT_EQ(t.child.stats().fetched, 9u);
}

TEST(Foreseen, WhatTheCacheHasIsMappedWithoutARead) {
  WorkingSet known;
  known.add({page(300), 9});
  Driven<Shared8> t;
  t.script.shelf.set({page(300), 4}, CacheState::present);
  t.script.shelf.set({page(304), 2}, CacheState::filling);  // another child's
  t.child.foresee(known, late);
  EXPECT_EQ(t.script.installed, (std::vector<PageRange>{{page(300), 4}}));
  EXPECT_EQ(pages_posted(t.script), 3u);
  t.complete_all();
  EXPECT_EQ(t.script.installed.back(), (PageRange{page(306), 3}));
}

}  // namespace
}  // namespace mitosis::test
