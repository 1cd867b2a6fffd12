// SPDX-License-Identifier: MIT
// Caches go when nobody has used them for long, or when room is short; never while in use.
// World: user.
#include <fcntl.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <mitosis/mem/cache_registry.hpp>

#include <cstring>
#include <memory>
#include <utility>

namespace mitosis {
namespace {

constexpr PageNumber heap{0x1000};
constexpr std::uint64_t idle_limit = 100;

CacheKey key(std::uint64_t handler, std::uint64_t generation = 1) {
  return {MachineId{1}, HandlerId{handler}, Generation{generation}};
}

class CacheRegistryTest : public testing::Test {
 protected:
  std::shared_ptr<LocalCache> acquire(const CacheKey& k, std::uint64_t now) {
    auto cache = registry_.acquire(k, *CachePlaces::of({{{heap, 64}, 0}}), now);
    EXPECT_TRUE(cache.ok());
    return *cache;
  }
  static void fill(LocalCache& cache, std::uint64_t pages) {
    const LocalMemory slot = cache.slot({heap, pages});
    ASSERT_NE(slot.data, nullptr);
    cache.begin_fill({heap, pages});
    std::memset(slot.data, 1, pages << page_shift);
    cache.end_fill({heap, pages}, true);
  }
  CacheRegistry registry_{80 * page_size, idle_limit};
};

TEST_F(CacheRegistryTest, ChildrenOfOneParentShareACache) {
  const auto a = acquire(key(1), 0);
  EXPECT_EQ(acquire(key(1), 5), a);
  EXPECT_NE(acquire(key(2), 5), a);
  EXPECT_NE(acquire(key(1, 2), 5), a) << "another generation is another parent";
}

TEST_F(CacheRegistryTest, IdleTimeBeginsAfterTheLastUse) {
  auto cache = acquire(key(1), 0);
  fill(*cache, 10);
  EXPECT_EQ(registry_.sweep(1000), 0u) << "in use";
  cache.reset();
  EXPECT_EQ(registry_.sweep(1000 + idle_limit - 1), 0u);
  EXPECT_EQ(registry_.sweep(1000 + idle_limit), 1u);
  EXPECT_EQ(registry_.size(), 0u);
  EXPECT_EQ(registry_.bytes_used(), 0u);
}

TEST_F(CacheRegistryTest, AcquiringPutsTheEndOff) {
  acquire(key(1), 0);
  acquire(key(1), 90);
  EXPECT_EQ(registry_.sweep(150), 0u);
  EXPECT_EQ(registry_.sweep(190), 1u);
}

TEST_F(CacheRegistryTest, WhenRoomIsShortTheLeastRecentlyUsedGoes) {
  fill(*acquire(key(1), 30), 25);
  fill(*acquire(key(2), 10), 25);
  const auto used = acquire(key(3), 0);
  fill(*used, 25);
  EXPECT_EQ(registry_.sweep(31), 0u) << "nobody was refused";
  EXPECT_EQ(used->slot({heap, 64}).data, nullptr);
  EXPECT_EQ(registry_.sweep(32), 1u);
  EXPECT_EQ(registry_.bytes_used(), 50 * page_size);
  EXPECT_NE(acquire(key(1), 33)->bytes_used(), 0u) << "it was 2 that had to go";
  EXPECT_NE(used->slot({heap + 25, 30}).data, nullptr);
}

TEST_F(CacheRegistryTest, ForgottenWhileInUseItLivesOn) {
  const auto cache = acquire(key(1), 0);
  fill(*cache, 10);
  registry_.forget(key(1));
  EXPECT_EQ(registry_.size(), 0u);
  EXPECT_EQ(cache->state(heap), CacheState::present);
  EXPECT_EQ(registry_.bytes_used(), 10 * page_size);
}

TEST_F(CacheRegistryTest, ANewWorkerTakesAParentsCacheOverOnce) {
  UniqueFd pages, index;
  const auto places = *CachePlaces::of({{{heap, 64}, 0}});
  {
    CacheRegistry dead(80 * page_size, idle_limit);
    const auto cache = *dead.acquire(key(1), places, 0);
    fill(*cache, 12);
    pages.reset(::dup(cache->pages_fd()));
    index.reset(::dup(cache->index_fd()));
  }
  UniqueFd pages2(::dup(pages.get())), index2(::dup(index.get()));
  const auto a = registry_.attach(key(1), places, std::move(pages), std::move(index), 5);
  const auto b = registry_.attach(key(1), places, std::move(pages2), std::move(index2), 5);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(*a, *b);
  EXPECT_EQ((*a)->state(heap + 11), CacheState::present);
  EXPECT_EQ(registry_.bytes_used(), 12 * page_size) << "charged once";
  // The journal of a third child names the descriptors that the cache owns by now.
  const auto c =
      registry_.attach(key(1), places, UniqueFd((*a)->pages_fd()), UniqueFd((*a)->index_fd()), 5);
  ASSERT_TRUE(c.ok());
  EXPECT_GE(::fcntl((*a)->pages_fd(), F_GETFD), 0) << "still open";
  EXPECT_GE(::fcntl((*a)->index_fd(), F_GETFD), 0);
}

}  // namespace
}  // namespace mitosis
