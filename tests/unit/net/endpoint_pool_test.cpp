// SPDX-License-Identifier: MIT
// The pools' decisions: RC keeps one endpoint a destination, DCT shares a fixed number fairly.
#include <gtest/gtest.h>

#include <mitosis/net/dct.hpp>
#include <mitosis/net/fair_queue.hpp>
#include <mitosis/net/tcp/pool_memory.hpp>

#include <cstdint>
#include <set>
#include <vector>

namespace mitosis {
namespace {

Destination demand(std::uint32_t peer) {
  return {MachineId{peer}, Lane::demand};
}
Destination bulk(std::uint32_t peer) {
  return {MachineId{peer}, Lane::bulk};
}

TEST(RcPool, HasOneEndpointADestinationAndKeepsIt) {
  RcPool<HeapAllocator> pool;
  std::set<std::uint32_t> endpoints;
  for (std::uint32_t peer = 0; peer < 1000; ++peer) {
    for (const Destination d : {demand(peer * 7919 % 1000), bulk(peer * 7919 % 1000)}) {
      const Grant grant = pool.admit(d, false);
      EXPECT_EQ(grant.kind, Grant::bind);
      endpoints.insert(grant.endpoint);
    }
  }
  EXPECT_EQ(endpoints.size(), 2000u);
  EXPECT_EQ(pool.endpoints(), 2000u);
  const Grant again = pool.admit(bulk(500), true);
  EXPECT_EQ(again.kind, Grant::go);
  EXPECT_EQ(again.endpoint, pool.bound(bulk(500)));
}

TEST(RcPool, ReleasedDestinationIsBoundAnewToItsOwnEndpoint) {
  RcPool<HeapAllocator> pool;
  const std::uint32_t first = pool.admit(demand(1), false).endpoint;
  pool.admit(demand(2), false);
  pool.release(first);
  EXPECT_EQ(pool.bound(demand(1)), no_endpoint);
  const Grant again = pool.admit(demand(1), false);
  EXPECT_EQ(again.kind, Grant::bind);
  EXPECT_EQ(again.endpoint, first);
}

struct NoMemory {
  void* allocate(std::size_t) noexcept { return nullptr; }
  void deallocate(void*, std::size_t) noexcept {}
};
TEST(RcPool, RefusesWhereThereIsNoMemory) {
  RcPool<NoMemory> pool;
  EXPECT_EQ(pool.admit(demand(1), false).kind, Grant::refuse);
  EXPECT_EQ(pool.endpoints(), 0u);
}

TEST(DctPool, ReachesAnyNumberOfPeersWithAFixedNumberOfInitiators) {
  DctPool<8> pool;
  for (std::uint32_t peer = 0; peer < 1000; ++peer) {
    const Grant grant = pool.admit(demand(peer), false);
    ASSERT_EQ(grant.kind, Grant::bind);
    ASSERT_LT(grant.endpoint, 8u);
    pool.finish(grant.endpoint, 1);
  }
  EXPECT_EQ(pool.endpoints(), 8u);
}

TEST(DctPool, BusyInitiatorsAreNotRetargetedAndTheLeastRecentlyUsedIdleOneIs) {
  DctPool<3, 0> pool;
  const Grant a = pool.admit(demand(1), false);
  const Grant b = pool.admit(demand(2), false);
  const Grant c = pool.admit(demand(3), false);
  EXPECT_EQ(pool.admit(demand(4), false).kind, Grant::wait);
  EXPECT_EQ(pool.admit(demand(2), false).kind, Grant::go);
  pool.finish(b.endpoint, 2);
  pool.finish(c.endpoint, 1);
  // c was used before b was used again, so c is the one to go.
  const Grant d = pool.admit(demand(4), false);
  EXPECT_EQ(d.kind, Grant::bind);
  EXPECT_EQ(d.endpoint, c.endpoint);
  EXPECT_EQ(pool.bound(demand(3)), no_endpoint);
  EXPECT_EQ(pool.bound(demand(1)), a.endpoint);
}

TEST(DctPool, BulkReadsLeaveInitiatorsToDemandReads) {
  DctPool<8, 2> pool;
  for (std::uint32_t peer = 0; peer < 6; ++peer) {
    EXPECT_EQ(pool.admit(bulk(peer), false).kind, Grant::bind);
  }
  EXPECT_EQ(pool.admit(bulk(6), false).kind, Grant::wait);
  EXPECT_EQ(pool.admit(demand(6), false).kind, Grant::bind);
  EXPECT_EQ(pool.admit(demand(7), false).kind, Grant::bind);
  EXPECT_EQ(pool.admit(demand(8), false).kind, Grant::wait);
}

TEST(DctPool, AnInitiatorDrainsAfterItsQuantumOnlyWhileOthersWait) {
  DctPool<1, 0> pool;
  const Grant first = pool.admit(demand(1), false);
  for (std::uint32_t i = 1; i < DctPool<>::quantum; ++i) {
    EXPECT_EQ(pool.admit(demand(1), true).kind, Grant::go);
  }
  EXPECT_EQ(pool.admit(demand(1), true).kind, Grant::wait);
  EXPECT_EQ(pool.admit(demand(1), false).kind, Grant::go);
  pool.finish(first.endpoint, DctPool<>::quantum + 1);
  EXPECT_EQ(pool.admit(demand(2), true).kind, Grant::bind);
}

TEST(DctPool, DestinationsThatHaveHadTheirQuantumDoNotWaitForEachOther) {
  DctPool<8> pool;
  Grant grants[2];
  for (std::uint32_t peer = 0; peer < 2; ++peer) {
    for (std::uint32_t i = 0; i < DctPool<>::quantum; ++i) {
      grants[peer] = pool.admit(demand(peer), true);
    }
    EXPECT_EQ(pool.admit(demand(peer), true).kind, Grant::wait);
  }
  for (const Grant& grant : grants) pool.finish(grant.endpoint, DctPool<>::quantum);
  for (std::uint32_t peer = 0; peer < 2; ++peer) {
    EXPECT_EQ(pool.admit(demand(peer), true).kind, Grant::go);
  }
}

TEST(DctPool, AnInitiatorTakesNoMoreThanItsSendQueue) {
  DctPool<8> pool;
  pool.admit(demand(1), false);
  for (unsigned i = 1; i < DCT::send_queue; ++i) {
    ASSERT_EQ(pool.admit(demand(1), false).kind, Grant::go);
  }
  EXPECT_EQ(pool.admit(demand(1), false).kind, Grant::wait);
}

TEST(FairQueue, TakesTurnsBetweenDestinationsInOrderWithinEachAndDemandFirst) {
  FairQueue<int, 16> queue;
  for (const int i : {10, 11, 12}) ASSERT_TRUE(queue.push(bulk(1), i));
  for (const int i : {20, 21}) ASSERT_TRUE(queue.push(demand(2), i));
  for (const int i : {30, 31}) ASSERT_TRUE(queue.push(demand(3), i));
  std::vector<int> taken;
  queue.offer([&](Destination, int item) {
    taken.push_back(item);
    return true;
  });
  EXPECT_EQ(taken, (std::vector<int>{20, 30, 21, 31, 10, 11, 12}));
  EXPECT_TRUE(queue.empty());
}

TEST(FairQueue, ARefusedDestinationKeepsItsPlaceAndDoesNotHoldUpOthers) {
  FairQueue<int, 16> queue;
  ASSERT_TRUE(queue.push(demand(1), 10));
  ASSERT_TRUE(queue.push(demand(2), 20));
  ASSERT_TRUE(queue.push(demand(2), 21));
  int asked = 0;
  queue.offer([&](Destination d, int) { return ++asked, d == demand(2); });
  EXPECT_EQ(asked, 3);
  EXPECT_TRUE(queue.has(demand(1)));
  EXPECT_FALSE(queue.has(demand(2)));
  EXPECT_FALSE(queue.others(demand(1)));
  EXPECT_TRUE(queue.others(demand(2)));
}

TEST(FairQueue, IsBoundedAndReusesItsRoom) {
  FairQueue<int, 4> queue;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue.push(demand(static_cast<std::uint32_t>(i)), i));
    EXPECT_FALSE(queue.push(demand(9), 9));
    queue.remove_if([](Destination, int item) { return item % 2 == 0; });
    EXPECT_EQ(queue.size(), 2u);
    queue.offer([](Destination, int) { return true; });
    EXPECT_EQ(queue.size(), 0u);
  }
}

TEST(FairQueue, RemovingFromTheMiddleKeepsTheOrder) {
  FairQueue<int, 8> queue;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(queue.push(demand(1), i));
  queue.remove_if([](Destination, int item) { return item == 2 || item == 4; });
  ASSERT_TRUE(queue.push(demand(1), 5));
  std::vector<int> taken;
  queue.offer([&](Destination, int item) {
    taken.push_back(item);
    return true;
  });
  EXPECT_EQ(taken, (std::vector<int>{0, 1, 3, 5}));
}

}  // namespace
}  // namespace mitosis
