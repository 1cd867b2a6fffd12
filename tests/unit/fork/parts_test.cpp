// SPDX-License-Identifier: MIT
// The small parts of engine and driver.
#include "scene.hpp"

#include <mitosis/fork/cache_waiters.hpp>
#include <mitosis/fork/child/cookie.hpp>
#include <mitosis/fork/child/wait_list.hpp>
#include <mitosis/fork/profile.hpp>

namespace mitosis::test {
namespace {

TEST(Origin, FindsOwnerAndSourceOfEveryPage) {
  const Scene scene;
  const Origin origin(scene.view());
  EXPECT_EQ(origin.locate(page(199)).owner, 0);
  EXPECT_EQ(origin.locate(page(199)).count, 1u);
  EXPECT_EQ(origin.locate(page(399)).source, page(5199));
  EXPECT_EQ(origin.locate(page(155)).source, page(155));  // in no run
  EXPECT_EQ(origin.locate(page(155)).count, 5u);          // up to the next
  EXPECT_EQ(origin.left_in_vma(page(390)), 10u);
  EXPECT_EQ(origin.left_in_vma(page(400)), 20u);
  EXPECT_EQ(origin.left_in_vma(page(1)), 1u);
}

TEST(OpTable, KeepsSlotsForDemandReads) {
  OpTable table;
  for (unsigned i = 0; i < max_prefetch_ops; ++i) {
    EXPECT_NE(table.take(OpKind::prefetch), OpTable::none);
  }
  EXPECT_EQ(table.take(OpKind::prefetch), OpTable::none);
  EXPECT_NE(table.take(OpKind::demand), OpTable::none);
  table.release(5);
  EXPECT_FALSE(table.taken(5));
  EXPECT_EQ(table.take(OpKind::demand), 5);
}

TEST(WaitList, KeepsTheFirstDeadlineOfAPage) {
  WaitList list;
  list.add({page(1), {}, Time{500}, WaitingFault::Reason::busy});
  list.add({page(1), {}, Time{900}, WaitingFault::Reason::changing});
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].deadline, Time{500});
  EXPECT_EQ(list[0].reason, WaitingFault::Reason::changing);
  list.forget({page(0), 5});
  EXPECT_TRUE(list.empty());
}

TEST(Cookie, ComesBackAsItWas) {
  const Cookie cookie{0xfedcba98, 0x123456, 63};
  const Cookie back = Cookie::unpack(cookie.pack());
  EXPECT_EQ(back.child, cookie.child);
  EXPECT_EQ(back.sequence, cookie.sequence);
  EXPECT_EQ(back.op, cookie.op);
}

struct Leaver : CacheWaiter {
  explicit Leaver(CacheWaiters& list) : CacheWaiter(&told), list_(list) { list_.join(*this); }
  static void told(CacheWaiter& self, PageRange) noexcept {
    auto& leaver = static_cast<Leaver&>(self);
    ++leaver.times;
    leaver.list_.leave(leaver);
    if (leaver.also != nullptr) leaver.list_.leave(*leaver.also);
  }
  CacheWaiters& list_;
  Leaver* also = nullptr;
  int times = 0;
};

TEST(CacheWaiters, MayLeaveWhileTheyAreTold) {
  CacheWaiters list;
  Leaver a(list), b(list), c(list);  // told in the order c, b, a
  c.also = &b;
  list.filled({page(1), 1});
  EXPECT_EQ(a.times, 1);
  EXPECT_EQ(b.times, 0);
  EXPECT_EQ(c.times, 1);
  EXPECT_TRUE(list.empty());
}

TEST(Histogram, SortsByPowersOfTwo) {
  Histogram h;
  for (const std::uint64_t ns : {0u, 1u, 2u, 3u, 4u}) h.add(ns);
  EXPECT_EQ(h.counts[0], 1u);
  EXPECT_EQ(h.counts[1], 1u);
  EXPECT_EQ(h.counts[2], 2u);
  EXPECT_EQ(h.counts[3], 1u);
  h.add(~std::uint64_t{0});
  EXPECT_EQ(h.counts[Histogram::buckets - 1], 1u);
}

}  // namespace
}  // namespace mitosis::test
