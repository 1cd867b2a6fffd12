// SPDX-License-Identifier: MIT
// ParentDoors on a device of memory: which area of a parent has a door of its own, their keys, and
// their end.
#include <gtest/gtest.h>

#include <mitosis/net/verbs/dct/parent_doors.hpp>

#include <cstdint>
#include <utility>
#include <vector>

#include "dct_machines.hpp"

namespace mitosis::verbs {
namespace {

class ParentDoorsTest : public testing::Test {
 protected:
  using Part = std::pair<std::uint64_t, std::uint32_t>;  // bytes, door
  static std::vector<Part> parts(const ParentDoors& doors, std::uint64_t start,
                                 std::uint64_t bytes) {
    std::vector<Part> all;
    std::uint64_t next = start;
    doors.split(start, bytes, [&](std::uint64_t from, std::uint64_t size, std::uint32_t door) {
      EXPECT_EQ(from, next);
      next = from + size;
      all.emplace_back(size, door);
      return true;
    });
    EXPECT_EQ(next, start + bytes);
    return all;
  }
  static PageRange area(std::uint64_t first, std::uint64_t count) {
    return {PageNumber{first}, count};
  }
  MemoryDevices all_;
  MemoryDevice device_{all_, port_of(1)};
};

TEST_F(ParentDoorsTest, TheLargestAreasHaveTheirOwnAndTheOthersShareOne) {
  DcDoors<MemoryDevice> doors(device_, port_of(1), 100);
  std::vector<PageRange> areas;
  for (std::uint64_t i = 1; i <= 12; ++i) areas.push_back(area(100 * i, i));
  ParentDoors parent(&doors, areas);
  ASSERT_TRUE(parent.open().ok());
  EXPECT_EQ(parent.told().size(), 1 + ParentDoors::max_own);
  // The small one at 400, the large one at 500; before, between and behind them the parent's.
  EXPECT_EQ(parts(parent, 400 * page, 4 * page), (std::vector<Part>{{4 * page, 0}}));
  const auto around = parts(parent, 499 * page, 7 * page);
  ASSERT_EQ(around.size(), 3u);
  EXPECT_EQ(around[0], Part(page, 0));
  EXPECT_NE(around[1].second, 0u);
  EXPECT_EQ(around[2], Part(page, 0));
  EXPECT_NE(parts(parent, 1200 * page, page)[0].second, around[1].second);
}

TEST_F(ParentDoorsTest, EveryDoorHasItsOwnKeyAndAllEndWithTheParent) {
  DcDoors<MemoryDevice> doors(device_, port_of(1), 100);
  {
    ParentDoors parent(&doors, {area(1, 1), area(5, 1)});
    ASSERT_TRUE(parent.open().ok());
    ASSERT_TRUE(parent.open().ok()) << "again changes nothing";
    ASSERT_EQ(parent.told().size(), 3u);
    EXPECT_NE(parent.told()[0].key, parent.told()[1].key);
    EXPECT_NE(parent.told()[1].key, parent.told()[2].key);
    EXPECT_EQ(all_.port(port_of(1)).targets.size(), 3u);
  }
  EXPECT_TRUE(all_.port(port_of(1)).targets.empty());
}

TEST_F(ParentDoorsTest, WhereDoorsAreScarceAreasShareTheParents) {
  DcDoors<MemoryDevice> doors(device_, port_of(1), 2);
  ParentDoors first(&doors, {area(1, 1), area(5, 9)});
  ASSERT_TRUE(first.open().ok());
  EXPECT_EQ(parts(first, 5 * page, page)[0].second, 1u) << "the largest has one";
  EXPECT_EQ(parts(first, page, page)[0].second, 0u);
  ParentDoors second(&doors, {area(1, 1)});
  EXPECT_EQ(second.open().code(), Errc::limit_exceeded);
  EXPECT_TRUE(second.told().empty());
  first.close();
  EXPECT_TRUE(second.open().ok());
}

TEST_F(ParentDoorsTest, WithoutDynamicConnectionsThereAreNone) {
  ParentDoors parent(nullptr, {area(1, 1)});
  EXPECT_TRUE(parent.open().ok());
  EXPECT_TRUE(parent.told().empty());
  EXPECT_EQ(parts(parent, page, 3 * page), (std::vector<Part>{{3 * page, 0}}));
}

}  // namespace
}  // namespace mitosis::verbs
