// SPDX-License-Identifier: MIT
// A cached page is whole, shared, within the budget, and survives the process that cached it.
// World: user.
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <mitosis/mem/page_cache.hpp>

#include <cstring>
#include <memory>

namespace mitosis {
namespace {

constexpr PageNumber heap{0x1000}, stack{0x7ff00};

/// 64 pages of heap, a hole of 256, 16 pages of stack.
CachePlaces places() {
  auto made = CachePlaces::of({{{heap, 64}, 0}, {{stack, 16}, 64 + 256}});
  EXPECT_TRUE(made.ok());
  return *made;
}
std::uint64_t allocated(int fd) {
  struct stat status = {};
  ::fstat(fd, &status);
  return static_cast<std::uint64_t>(status.st_blocks) * 512 / page_size;
}

class LocalCacheTest : public testing::Test {
 protected:
  std::unique_ptr<LocalCache> create() {
    auto made = LocalCache::create(places(), budget_);
    EXPECT_TRUE(made.ok());
    return std::move(made).value();
  }
  static void fill(LocalCache& cache, PageRange range, int byte, bool ok = true) {
    const LocalMemory slot = cache.slot(range);
    ASSERT_NE(slot.data, nullptr);
    cache.begin_fill(range);
    std::memset(slot.data, byte, range.bytes());
    cache.end_fill(range, ok);
  }
  CacheBudget budget_{40 * page_size};
};

TEST_F(LocalCacheTest, APageGoesFromAbsentToFillingToPresent) {
  const auto cache = create();
  const PageRange range{heap + 5, 3};
  EXPECT_EQ(cache->state(heap + 6), CacheState::absent);
  ASSERT_NE(cache->slot(range).data, nullptr);
  cache->begin_fill(range);
  EXPECT_EQ(cache->state(heap + 5), CacheState::filling);
  EXPECT_EQ(cache->state(heap + 7), CacheState::filling);
  EXPECT_EQ(cache->state(heap + 8), CacheState::absent);
  cache->end_fill(range, true);
  EXPECT_EQ(cache->state(heap + 7), CacheState::present);
}

TEST_F(LocalCacheTest, AReadThatFailedLeavesNothing) {
  const auto cache = create();
  fill(*cache, {heap, 4}, 1);
  fill(*cache, {heap + 4, 4}, 2, false);
  EXPECT_EQ(cache->state(heap + 4), CacheState::absent);
  EXPECT_EQ(cache->bytes_used(), 4 * page_size);
  EXPECT_EQ(allocated(cache->pages_fd()), 4u);
}

TEST_F(LocalCacheTest, ChildrenSeeThePagesWhereTheirPlaceIs) {
  const auto cache = create();
  fill(*cache, {stack + 2, 1}, 7);
  const auto fd = cache->open_read_only();
  ASSERT_TRUE(fd.ok());
  // As the child of a VMA does: private, writable, from the place's page on.
  auto* child = static_cast<std::uint8_t*>(::mmap(nullptr, 16 * page_size,
                                                  PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE,
                                                  fd->get(), 320 * static_cast<off_t>(page_size)));
  ASSERT_NE(child, MAP_FAILED);
  EXPECT_EQ(child[2 * page_size], 7);
  child[2 * page_size] = 9;
  EXPECT_EQ(cache->slot({stack + 2, 1}).data[0], 7) << "a child's write stays its own";
  ::munmap(child, 16 * page_size);
}

TEST_F(LocalCacheTest, AChildCanNeitherWriteNorResizeIt) {
  const auto cache = create();
  const auto fd = cache->open_read_only();
  ASSERT_TRUE(fd.ok());
  EXPECT_LT(::pwrite(fd->get(), "x", 1, 0), 0);
  EXPECT_LT(::ftruncate(fd->get(), 0), 0);
  EXPECT_EQ(::mmap(nullptr, page_size, PROT_WRITE, MAP_SHARED, fd->get(), 0), MAP_FAILED);
  // Nor by opening it again, as another user.
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    char path[32];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd->get());
    ::_exit(::open(path, O_RDWR) >= 0 ? 1 : 0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "needs CAP_SETUID";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(LocalCacheTest, OutsideTheirPlacePagesAreNotCached) {
  const auto cache = create();
  EXPECT_EQ(cache->slot({heap + 60, 5}).data, nullptr) << "across the end of a place";
  EXPECT_EQ(cache->slot({PageNumber{1}, 1}).data, nullptr);
  EXPECT_EQ(cache->state(PageNumber{1}), CacheState::absent);
  cache->begin_fill({PageNumber{1}, 1});
  cache->end_fill({PageNumber{1}, 1}, true);
  EXPECT_EQ(cache->state(PageNumber{1}), CacheState::absent);
  EXPECT_EQ(cache->bytes_used(), 0u);
}

TEST_F(LocalCacheTest, TheBudgetIsSharedAndGivenBack) {
  auto one = create();
  const auto two = create();
  fill(*one, {heap, 30}, 1);
  fill(*two, {heap, 10}, 1);
  EXPECT_EQ(budget_.used(), 40 * page_size);
  EXPECT_EQ(two->slot({heap + 10, 1}).data, nullptr);
  EXPECT_NE(two->slot({heap, 10}).data, nullptr) << "what is there stays readable";
  EXPECT_TRUE(budget_.take_shortage());
  EXPECT_FALSE(budget_.take_shortage());
  one.reset();
  EXPECT_EQ(budget_.used(), 10 * page_size);
  EXPECT_NE(two->slot({heap + 10, 1}).data, nullptr);
}

TEST_F(LocalCacheTest, ANewProcessFindsWhatIsWholeAndDropsWhatIsNot) {
  auto old = create();
  fill(*old, {heap, 8}, 3);
  fill(*old, {stack, 1}, 4);
  // Died in the middle of a read, half of which had landed.
  const LocalMemory slot = old->slot({heap + 8, 4});
  old->begin_fill({heap + 8, 4});
  std::memset(slot.data, 5, 2 * page_size);
  UniqueFd pages(::dup(old->pages_fd())), index(::dup(old->index_fd()));
  const int pages_fd = pages.get();
  old.reset();

  auto made = LocalCache::attach(places(), std::move(pages), std::move(index), budget_);
  ASSERT_TRUE(made.ok());
  LocalCache& cache = **made;
  EXPECT_EQ(cache.state(heap + 7), CacheState::present);
  EXPECT_EQ(cache.slot({heap + 7, 1}).data[0], 3);
  EXPECT_EQ(cache.slot({stack, 1}).data[5], 4);
  EXPECT_EQ(cache.state(heap + 8), CacheState::absent);
  EXPECT_EQ(allocated(pages_fd), 9u);
  EXPECT_EQ(budget_.used(), 9 * page_size);
  fill(cache, {heap + 8, 4}, 6);
  EXPECT_EQ(cache.state(heap + 11), CacheState::present);
}

TEST_F(LocalCacheTest, MemfdsOfOtherPlacesAreRefused) {
  const auto cache = create();
  auto other = CachePlaces::of({{{heap, 640}, 0}});
  ASSERT_TRUE(other.ok());
  const auto made = LocalCache::attach(*other, UniqueFd(::dup(cache->pages_fd())),
                                       UniqueFd(::dup(cache->index_fd())), budget_);
  EXPECT_EQ(made.code(), Errc::invalid_argument);
  EXPECT_FALSE(CachePlaces::of({{{heap, 64}, 0}, {{heap + 63, 1}, 64}}).ok());
  EXPECT_FALSE(CachePlaces::of({{{heap, 64}, 0}, {{heap + 64, 1}, 63}}).ok());
}

}  // namespace
}  // namespace mitosis
