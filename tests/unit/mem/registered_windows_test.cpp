// SPDX-License-Identifier: MIT
// RegisteredWindows: only what is used is registered, and every read has one key.
#include <gtest/gtest.h>

#include <mitosis/mem/page_cache.hpp>
#include <mitosis/mem/registered_windows.hpp>

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis {
namespace {

constexpr std::uint64_t reach = RegisteredWindows::reach;

/// Hands out keys from 1 on and remembers which memory each is of.
class FakeRegistrar final : public Registrar {
 public:
  struct Key final : Registration {
    Key(std::uint32_t key, int& live) : key_(key), live_(live) { ++live_; }
    ~Key() override { --live_; }
    std::uint32_t local_key() const noexcept override { return key_; }
    std::uint32_t key_;
    int& live_;
  };
  Result<std::unique_ptr<Registration>> for_landing(MutableBytes memory) noexcept override {
    if (refuse) return Error(Errc::limit_exceeded, "memory that may be pinned");
    given.push_back(memory);
    const auto number = static_cast<std::uint32_t>(given.size());
    return std::unique_ptr<Registration>(std::make_unique<Key>(number, live));
  }
  [[nodiscard]] bool covers(std::uint32_t key, const std::uint8_t* data,
                            std::uint64_t bytes) const {
    const MutableBytes& memory = given[key - 1];
    return data >= memory.data() && data + bytes <= memory.data() + memory.size();
  }
  std::vector<MutableBytes> given;
  int live = 0;
  bool refuse = false;
};

TEST(RegisteredWindows, EveryReadLiesWithinTheRegistrationThatItsKeyNames) {
  FakeRegistrar registrar;
  std::vector<std::uint8_t> memory(5 * reach + 3 * page_size);
  RegisteredWindows windows(&registrar, memory);
  for (std::uint64_t offset = 0; offset < memory.size(); offset += page_size) {
    for (const std::uint64_t bytes : {std::uint64_t{page_size}, reach / 2, reach}) {
      const std::uint32_t key = windows.key(offset, bytes);
      if (offset + bytes > memory.size()) {
        EXPECT_EQ(key, 0u);
      } else {
        ASSERT_NE(key, 0u);
        EXPECT_TRUE(registrar.covers(key, memory.data() + offset, bytes)) << offset << " " << bytes;
      }
    }
  }
  EXPECT_EQ(registrar.given.size(), 6u);  // each window once
  windows = {};
  EXPECT_EQ(registrar.live, 0);
}

TEST(RegisteredWindows, OnlyWhatIsUsedIsRegistered) {
  FakeRegistrar registrar;
  std::vector<std::uint8_t> memory(64 * reach);
  RegisteredWindows windows(&registrar, memory);
  EXPECT_NE(windows.key(40 * reach, page_size), 0u);
  EXPECT_NE(windows.key(40 * reach + page_size, page_size), 0u);
  ASSERT_EQ(registrar.given.size(), 1u);
  EXPECT_EQ(registrar.given[0].data(), memory.data() + 40 * reach);
}

TEST(RegisteredWindows, WhatTheDeviceRefusesHasNoKeyAndIsTriedAgain) {
  FakeRegistrar registrar;
  std::vector<std::uint8_t> memory(2 * reach);
  RegisteredWindows windows(&registrar, memory);
  registrar.refuse = true;
  EXPECT_EQ(windows.key(0, page_size), 0u);
  registrar.refuse = false;
  EXPECT_NE(windows.key(0, page_size), 0u);
  EXPECT_EQ(windows.key(0, reach + 1), 0u);
  EXPECT_EQ(RegisteredWindows(nullptr, memory).key(0, page_size), 0u);
}

/// A device goes on writing to the memory it knows: a page that a failed read has left must stay
/// the one that it writes to.
TEST(RegisteredCache, AFailedReadLeavesThePageWhereTheDeviceKnowsIt) {
  FakeRegistrar registrar;
  CacheBudget budget(std::uint64_t{1} << 20);
  auto places = CachePlaces::of({{{PageNumber{16}, 8}, 0}});
  ASSERT_TRUE(places);
  auto cache = LocalCache::create(*places, budget, &registrar);
  ASSERT_TRUE(cache);
  const PageRange page{PageNumber{16}, 1};
  const LocalMemory first = (*cache)->slot(page);
  EXPECT_NE(first.local_key, 0u);
  (*cache)->begin_fill(page);
  std::memset(first.data, 0x5a, page_size);
  (*cache)->end_fill(page, false);
  EXPECT_EQ((*cache)->state(page.first), CacheState::absent);
  EXPECT_EQ((*cache)->bytes_used(), 0u);
  std::uint8_t seen = 0;
  ASSERT_EQ(::pread((*cache)->pages_fd(), &seen, 1, 0), 1);
  EXPECT_EQ(seen, 0x5a) << "the page was taken out of the file: a device would write to another";
}

}  // namespace
}  // namespace mitosis
