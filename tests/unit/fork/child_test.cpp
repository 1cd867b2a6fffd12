// SPDX-License-Identifier: MIT
// The driver against a scripted platform: the rules of changing memory, deadlines, memory of reads.
#include "scripted_platform.hpp"

namespace mitosis::test {
namespace {

constexpr std::uint64_t second = 1'000'000'000;

using OnDemandOnly = Policy<Fetch<OnDemand>>;
using Window8 = Policy<Fetch<Prefetch<8>>>;
using Shared = Policy<Fetch<OnDemand>, Cache<Local>>;

TEST(Driver, AFaultIsOneDoorbellAndTheInstallationOfWhatItBrings) {
  Driven<Window8> t;
  t.child.on_fault(page(205));
  EXPECT_EQ(t.script.doorbells, 1u);
  ASSERT_EQ(t.script.posted.size(), 2u);
  const ReadRequest& demand = t.script.posted[0];
  EXPECT_EQ(demand.peer, MachineId{1});
  EXPECT_EQ(demand.remote_address, address(page(5005)));
  EXPECT_EQ(demand.bytes, page_size);
  EXPECT_EQ(Cookie::unpack(demand.cookie).child, 7u);
  t.complete();
  EXPECT_EQ(t.script.installed, (std::vector<PageRange>{{page(205), 1}}));
  t.complete();
  EXPECT_EQ(t.script.installed.back(), (PageRange{page(206), 8}));
  EXPECT_TRUE(t.child.idle());
  EXPECT_EQ(t.script.landings, 0u);
  EXPECT_EQ(t.child.stats().fetched, 9u);
  EXPECT_EQ(t.child.stats().bytes, 9 * page_size);
  EXPECT_EQ(t.child.next_deadline(), Time::never);
}

TEST(Driver, ARangeAcrossTheEndOfAMappingIsHalvedToSinglePages) {
  Driven<Window8> t;
  // The mapping was split before page 209: no installation may cross that.
  t.script.answer = [](PageRange r) {
    const bool crosses = r.first < page(209) && r.end() > page(209);
    return crosses ? InstallResult{Install::split, 0} : InstallResult{Install::done, r.count};
  };
  t.child.on_fault(page(205));
  t.complete();
  t.complete();
  std::uint64_t pages = 0;
  for (const PageRange& r : t.script.installed) pages += r.count;
  EXPECT_EQ(pages, 9u);
}

TEST(Driver, WherePagesAreAlreadyItGoesOnBehindThem) {
  Driven<Window8> t;
  t.script.answer = [](PageRange r) {
    if (r.first == page(208)) return InstallResult{Install::exists, 0};
    if (r.contains(page(208))) return InstallResult{Install::again, page(208) - r.first};
    return InstallResult{Install::done, r.count};
  };
  t.child.on_fault(page(205));
  t.complete();
  t.complete();
  EXPECT_EQ(t.script.installed,
            (std::vector<PageRange>{{page(205), 1}, {page(206), 2}, {page(209), 5}}));
  EXPECT_EQ(t.script.woken, (std::vector<PageRange>{{page(208), 1}}));
}

TEST(Driver, WhileTheMapChangesTheBytesWait) {
  Driven<OnDemandOnly> t;
  t.script.answer = [](PageRange) { return InstallResult{Install::again, 0}; };
  t.child.on_fault(page(205));
  t.complete();
  EXPECT_TRUE(t.script.installed.empty());
  EXPECT_NE(t.child.next_deadline(), Time::never);
  t.script.answer = nullptr;
  t.child.on_unmapped({page(300), 1});  // the change has been read
  EXPECT_EQ(t.script.installed, (std::vector<PageRange>{{page(205), 1}}));
  EXPECT_EQ(t.script.doorbells, 1u);  // nothing was fetched twice
}

TEST(Driver, WhoSleepsWhereMremapPutsPagesIsWokenEvenIfTheBytesWereHere) {
  Driven<OnDemandOnly> t;
  t.script.answer = [](PageRange) { return InstallResult{Install::again, 0}; };
  t.child.on_fault(page(205));
  t.complete();  // here, but the map is changing
  t.script.answer = nullptr;
  t.child.on_moved({page(300), 4}, page(203));  // over it
  EXPECT_TRUE(t.script.installed.empty());
  EXPECT_TRUE(t.script.woken.back().contains(page(205)));
  EXPECT_TRUE(t.child.idle());
}

TEST(Driver, WhatIsRemovedMeanwhileIsNotInstalled) {
  Driven<Window8> t;
  t.child.on_fault(page(205));
  t.child.on_removed({page(205), 3});
  EXPECT_EQ(t.script.woken, (std::vector<PageRange>{{page(205), 3}}));  // it faults again: zero
  t.complete();
  EXPECT_TRUE(t.script.installed.empty());
  t.complete();
  EXPECT_EQ(t.script.installed, (std::vector<PageRange>{{page(208), 6}}));
}

TEST(Driver, OneSidedFailureGoesToTheFallbackAndThenRoundAgainUntilTheDeadline) {
  Driven<OnDemandOnly> t;
  t.child.on_fault(page(205));
  const Time began = t.script.now;
  while (t.script.failed.empty()) {
    ASSERT_LT(t.script.now, began + 6 * second) << "a fault without an end";
    if (!t.script.posted.empty()) t.complete(Errc::connection_lost);
    if (!t.script.asked.empty()) {
      const std::uint64_t cookie = t.script.asked.back().cookie;
      t.script.asked.clear();
      t.child.on_completion(cookie, Errc::connection_lost);
    }
    t.advance(second / 100);
  }
  EXPECT_EQ(t.script.failed[0].first, page(205));
  EXPECT_GE(t.script.now, began + 4 * second);  // it did not give up early
  EXPECT_GT(t.child.stats().fallbacks, 10u);
  EXPECT_TRUE(t.child.idle());
  EXPECT_EQ(t.script.landings, 0u);
}

TEST(Driver, ARevokedTargetFailsAtOnce) {
  Driven<OnDemandOnly> t;
  t.child.on_fault(page(205));
  t.complete(Errc::revoked);
  ASSERT_EQ(t.script.failed.size(), 1u);
  EXPECT_EQ(t.script.failed[0].second, Errc::revoked);
  EXPECT_TRUE(t.script.asked.empty());
}

TEST(Driver, APageThatFailedStaysAnAncestorsWhateverLiesThere) {
  Driven<Window8> t;
  t.child.on_fault(page(207));
  t.complete(Errc::revoked);
  t.complete(Errc::revoked);
  t.script.answer = [](PageRange r) {  // the failed page is occupied: nothing can be put there
    if (r.contains(page(207))) return InstallResult{Install::exists, 0};
    return InstallResult{Install::done, r.count};
  };
  t.child.on_fault(page(203));
  while (!t.script.posted.empty()) t.complete();
  bool still = false;
  t.child.engine().snapshot([&](PageRange range, std::uint16_t, PageNumber, bool) {
    still = still || range.contains(page(207));
  });
  EXPECT_TRUE(still) << "a grandchild would read zeros";
}

TEST(Driver, AFabricThatNeverAnswersKeepsTheMemoryAndNotTheThread) {
  Driven<OnDemandOnly> t;
  t.child.on_fault(page(205));
  t.advance(6 * second);
  ASSERT_EQ(t.script.failed.size(), 1u);
  EXPECT_EQ(t.script.failed[0].second, Errc::timed_out);
  EXPECT_FALSE(t.child.idle());  // it may still write there
  EXPECT_EQ(t.script.landings, 1u);
  t.complete();
  EXPECT_TRUE(t.script.installed.empty());
  EXPECT_TRUE(t.child.idle());
  EXPECT_EQ(t.script.landings, 0u);
}

TEST(Driver, ACompletionOfAnEarlierAttemptIsIgnored) {
  Driven<OnDemandOnly> t;
  t.child.on_fault(page(205));
  const std::uint64_t old = t.script.take().cookie;
  t.child.on_completion(old, Errc::timed_out);
  ASSERT_EQ(t.script.asked.size(), 1u);
  t.child.on_completion(old, Errc::ok);
  EXPECT_TRUE(t.script.installed.empty());
}

TEST(Driver, WithoutALandingAFaultWaitsForOne) {
  Driven<Window8> t;
  t.script.landing_limit = 1;
  t.child.on_fault(page(205));
  EXPECT_EQ(t.script.posted.size(), 1u);  // the page itself; its window found no room
  t.child.on_fault(page(300));
  EXPECT_EQ(t.script.posted.size(), 1u);
  t.complete();
  ASSERT_EQ(t.script.posted.size(), 1u);
  EXPECT_EQ(t.script.posted[0].remote_address, address(page(5100)));
}

TEST(Driver, MoreWaitingFaultsThanItCanListAreWokenLater) {
  Driven<OnDemandOnly> t;
  t.script.landing_limit = 0;
  for (std::uint64_t n = 0; n < WaitList::capacity + 10; ++n) t.child.on_fault(page(200 + n));
  t.script.landing_limit = ~std::uint64_t{0};
  t.advance(2'000'000);
  EXPECT_EQ(t.script.posted.size(), WaitList::capacity);
  ASSERT_FALSE(t.script.woken.empty());  // everybody: the ten fault again
  EXPECT_TRUE(t.script.woken.back().contains(page(200 + WaitList::capacity)));
}

TEST(Driver, ADeadChildInstallsNothingAndLetsItsReadsEnd) {
  Driven<Window8> t;
  t.script.answer = [](PageRange) { return InstallResult{Install::gone, 0}; };
  t.child.on_fault(page(205));
  t.complete();
  EXPECT_TRUE(t.child.closed());
  EXPECT_FALSE(t.child.idle());
  t.complete();
  EXPECT_TRUE(t.child.idle());
  EXPECT_EQ(t.script.landings, 0u);
}

TEST(Driver, WhatOneChildFetchesWakesWhoWaitsForIt) {
  Driven<Shared> t;
  Child<Shared, ScriptedPlatform> other{ScriptedPlatform{&t.script}, 8};
  ASSERT_EQ(other.load(t.scene.view()), Errc::ok);
  t.child.on_fault(page(205));
  other.on_fault(page(205));
  EXPECT_EQ(t.script.posted.size(), 1u);  // once for both
  t.complete();
  EXPECT_EQ(t.script.installed.size(), 2u);
  EXPECT_EQ(other.stats().cached, 1u);
  EXPECT_EQ(other.stats().fetched, 0u);
  EXPECT_TRUE(t.script.waiters.empty());
}

TEST(Driver, WhenTheFetchingChildFailsAnotherTakesOver) {
  Driven<Shared> t;
  Child<Shared, ScriptedPlatform> other{ScriptedPlatform{&t.script}, 8};
  ASSERT_EQ(other.load(t.scene.view()), Errc::ok);
  t.child.on_fault(page(205));
  other.on_fault(page(205));
  t.child.close();
  t.complete(Errc::connection_lost);
  ASSERT_EQ(t.script.posted.size(), 1u);
  EXPECT_EQ(Cookie::unpack(t.script.posted[0].cookie).child, 8u);
  other.on_completion(t.script.take().cookie, Errc::ok);
  EXPECT_EQ(other.stats().fetched, 1u);
}

TEST(Driver, ProfileCountsEachStepAndOffCostsNothing) {
  Driven<Policy<Fetch<OnDemand>, Profile<On>>> t;
  t.child.on_fault(page(205));
  t.script.now = t.script.now + 5'000;
  t.complete();
  EXPECT_EQ(t.child.profile().of(ProfileStep::read).count, 1u);
  EXPECT_EQ(t.child.profile().of(ProfileStep::read).total_ns, 5'000u);
  EXPECT_EQ(t.child.profile().of(ProfileStep::fault).counts[13], 1u);  // [4096, 8192) ns
  EXPECT_TRUE(std::is_empty_v<Recorder<Off>>);
}

}  // namespace
}  // namespace mitosis::test
