// SPDX-License-Identifier: MIT
// What decides on the reader's side of verbs, without a device: which bytes are where, which reads
// have ended, when a connection is made again.
#include <gtest/gtest.h>

#include <mitosis/net/verbs/link_state.hpp>
#include <mitosis/net/verbs/piece_map.hpp>
#include <mitosis/net/verbs/read_queue.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::verbs {
namespace {

constexpr std::uint64_t ms = 1'000'000;
constexpr std::uint64_t all_bits = ~std::uint64_t{0};

// ---- PieceMap -----------------------------------------------------------------------------------

rpc::PiecesReply two_pieces() {
  return {true, {{0x9000, 0x3000, 0x70000, 8}, {0x1000, 0x2000, 0x50000, 7}}};
}

TEST(PieceMap, FindsWhereBytesAreAndHowManyOfThem) {
  const PieceMap map(two_pieces());
  const auto found = map.find(0x1800, 0x400);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->address, 0x50800u);
  EXPECT_EQ(found->bytes, 0x400u);
  EXPECT_EQ(found->remote_key, 7u);
  EXPECT_EQ(map.find(0x2000, 0x9000)->bytes, 0x1000u);  // up to the piece's end
  EXPECT_EQ(map.find(0x9000, 1)->remote_key, 8u);
}

TEST(PieceMap, FindsNothingOutsideOfThePieces) {
  const PieceMap map(two_pieces());
  for (const std::uint64_t address : {0x0ull, 0xfffull, 0x3000ull, 0x8fffull, 0xc000ull}) {
    EXPECT_FALSE(map.find(address, 1)) << address;
  }
  EXPECT_FALSE(PieceMap().find(0x1000, 1));
  EXPECT_FALSE(PieceMap().complete());
}

TEST(PieceMap, LeavesOutWhatAHostilePeerTells) {
  const PieceMap map(rpc::PiecesReply{false,
                                      {{0x1000, 0x2000, 0x50000, 1},
                                       {0x2000, 0x1000, 0x60000, 2},        // overlaps
                                       {0x5000, 0, 0x60000, 3},             // empty
                                       {all_bits - 0xfff, 0x2000, 0x0, 4},  // wraps
                                       {0x7000, 0x2000, all_bits - 5, 5},   // wraps there
                                       {0x8000, 0x1000, 0x60000, 6}}});
  EXPECT_EQ(map.size(), 2u);
  EXPECT_EQ(map.find(0x2000, 1)->remote_key, 1u);
  EXPECT_EQ(map.find(0x8000, 1)->remote_key, 6u);
  EXPECT_FALSE(map.find(all_bits, 1));
}

// ---- ReadQueue ----------------------------------------------------------------------------------

PlacedRead read_of(std::uint64_t cookie, std::uint32_t parts = 1, Time deadline = Time::never) {
  PlacedRead read;
  read.request.cookie = cookie;
  read.request.deadline = deadline;
  read.count = parts;
  return read;
}
struct Ended {
  std::vector<std::uint64_t>& cookies;
  void operator()(const ReadRequest& request) const { cookies.push_back(request.cookie); }
};

class ReadQueueTest : public testing::Test {
 protected:
  /// Opens all that has room; the last serial number.
  std::uint64_t open_all() {
    PlacedRead read;
    std::uint64_t serial = all_bits;
    while (queue_.open_next(read, serial)) last_ = serial;
    return last_;
  }
  ReadQueue queue_{4};
  std::uint64_t last_ = all_bits;
  std::vector<std::uint64_t> ended_;
};

TEST_F(ReadQueueTest, OneSignalledReadEndsAllBeforeIt) {
  for (const std::uint64_t cookie : {10u, 11u, 12u}) queue_.push(read_of(cookie), Time{0});
  EXPECT_EQ(open_all(), 2u);
  queue_.succeed_to(1, Ended{ended_});
  EXPECT_EQ(ended_, (std::vector<std::uint64_t>{10, 11}));
  queue_.succeed_to(1, Ended{ended_});  // told twice
  EXPECT_EQ(ended_.size(), 2u);
  queue_.succeed_to(2, Ended{ended_});
  EXPECT_TRUE(queue_.empty());
}

TEST_F(ReadQueueTest, NeverOpensMoreThanTheDeviceHasRoomFor) {
  for (std::uint64_t cookie = 0; cookie < 5; ++cookie) queue_.push(read_of(cookie, 2), Time{0});
  open_all();
  EXPECT_EQ(queue_.open(), 2u);
  queue_.succeed_to(0, Ended{ended_});
  open_all();
  EXPECT_EQ(queue_.open(), 2u);
  EXPECT_EQ(last_, 2u);
}

TEST_F(ReadQueueTest, ABrokenConnectionEndsEachReadOnceInOrder) {
  for (std::uint64_t cookie = 0; cookie < 6; ++cookie) queue_.push(read_of(cookie), Time{0});
  open_all();
  queue_.succeed_to(0, Ended{ended_});
  std::uint64_t serial = 0;
  ASSERT_NE(queue_.oldest(serial), nullptr);
  EXPECT_EQ(serial, 1u);
  queue_.end_all(Ended{ended_});
  EXPECT_EQ(ended_, (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.soonest(), Time::never);
  // The next connection: all the room is there again, numbers are not used twice.
  for (std::uint64_t cookie = 0; cookie < 4; ++cookie) queue_.push(read_of(cookie), Time{0});
  EXPECT_EQ(open_all(), 7u);
}

TEST_F(ReadQueueTest, WhatWaitsEndsAtItsDeadlineWhatIsOpenIsOverdueInHalfOfItsTime) {
  for (std::uint64_t cookie = 0; cookie < 4; ++cookie) {
    queue_.push(read_of(cookie, 1, Time{200}), Time{0});
  }
  queue_.push(read_of(4, 1, Time{50}), Time{0});
  queue_.push(read_of(5, 1, Time{300}), Time{0});
  open_all();
  EXPECT_EQ(queue_.soonest(), Time{25});
  EXPECT_FALSE(queue_.expire(Time{49}, Ended{ended_}));
  EXPECT_TRUE(ended_.empty());
  EXPECT_EQ(queue_.soonest(), Time{50});
  EXPECT_FALSE(queue_.expire(Time{60}, Ended{ended_}));
  EXPECT_EQ(ended_, (std::vector<std::uint64_t>{4}));
  EXPECT_EQ(queue_.soonest(), Time{100});
  EXPECT_FALSE(queue_.expire(Time{99}, Ended{ended_}));
  EXPECT_TRUE(queue_.expire(Time{100}, Ended{ended_})) << "with as much time to go another way";
  EXPECT_EQ(ended_.size(), 1u);  // the device may still write there
}

// ---- LinkState ----------------------------------------------------------------------------------

TEST(LinkState, IsMadeOnceWhenWantedAndAgainAfterPausesThatDouble) {
  LinkState link;
  EXPECT_TRUE(link.wanted(Time{0}));
  EXPECT_FALSE(link.wanted(Time{1}));  // being made
  EXPECT_FALSE(link.made(link.attempt(), false, Time{0}));
  EXPECT_TRUE(link.wanted(Time{0}));  // the first failure costs no pause
  EXPECT_FALSE(link.made(link.attempt(), false, Time{0}));
  EXPECT_FALSE(link.wanted(Time{199 * ms}));
  EXPECT_TRUE(link.wanted(Time{200 * ms}));
  EXPECT_FALSE(link.made(link.attempt(), false, Time{200 * ms}));
  EXPECT_FALSE(link.wanted(Time{599 * ms}));
  EXPECT_TRUE(link.wanted(Time{600 * ms}));
  EXPECT_TRUE(link.made(link.attempt(), true, Time{600 * ms}));
  EXPECT_TRUE(link.up());
}

TEST(LinkState, WaitsNoLongerThanItsLongestPause) {
  LinkState link;
  for (int i = 0; i < 100; ++i) link.fail(Time{0});
  EXPECT_TRUE(link.wanted(Time{LinkState::longest_pause}));
}

TEST(LinkState, AReadThatSucceedsForgivesEarlierFailures) {
  LinkState link;
  for (int i = 0; i < 5; ++i) link.fail(Time{0});
  link.works();
  link.fail(Time{0});
  EXPECT_TRUE(link.wanted(Time{0}));
}

TEST(LinkState, AConnectionThatComesAfterItWasForgottenIsOfNoInterest) {
  LinkState link;
  EXPECT_TRUE(link.wanted(Time{0}));
  const std::uint64_t first = link.attempt();
  link.forget();
  EXPECT_FALSE(link.made(first, true, Time{0}));
  EXPECT_TRUE(link.wanted(Time{0}));
  EXPECT_FALSE(link.made(first, true, Time{0}));  // not this attempt's
  EXPECT_FALSE(link.up());
  EXPECT_TRUE(link.made(link.attempt(), true, Time{0}));
}

}  // namespace
}  // namespace mitosis::verbs
