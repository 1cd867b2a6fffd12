// SPDX-License-Identifier: MIT
// What decides on the owner's side of verbs and between threads, without a device: the parts of a
// registered copy, what completions mean, errands.
#include <gtest/gtest.h>
#include <poll.h>

#include <mitosis/net/verbs/completion_words.hpp>
#include <mitosis/net/verbs/device_health.hpp>
#include <mitosis/net/verbs/errands.hpp>
#include <mitosis/net/verbs/registered_pool.hpp>

#include <atomic>
#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <vector>

namespace mitosis::verbs {
namespace {

using Part = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;

std::vector<Part> parts_of(std::uint64_t offset, std::uint64_t bytes) {
  const PageRanges ranges({{PageNumber{16}, 2}, {PageNumber{32}, 1}, {PageNumber{64}, 4}});
  std::vector<Part> parts;
  for_each_part(ranges, offset, bytes,
                [&](std::uint64_t address, std::uint64_t length, std::uint64_t at) {
                  parts.emplace_back(address, length, at);
                  return true;
                });
  return parts;
}

TEST(ForEachPart, TellsWhichAddressesAPieceOfTheCopyHas) {
  EXPECT_EQ(parts_of(0, 7 * page_size),
            (std::vector<Part>{
                {0x10000, 0x2000, 0}, {0x20000, 0x1000, 0x2000}, {0x40000, 0x4000, 0x3000}}));
  EXPECT_EQ(parts_of(page_size, 3 * page_size),
            (std::vector<Part>{
                {0x11000, 0x1000, 0}, {0x20000, 0x1000, 0x1000}, {0x40000, 0x1000, 0x2000}}));
  EXPECT_EQ(parts_of(5 * page_size, 2 * page_size), (std::vector<Part>{{0x42000, 0x2000, 0}}));
  EXPECT_TRUE(parts_of(7 * page_size, page_size).empty());
}

TEST(ForEachPart, StopsWhereItIsTold) {
  const PageRanges ranges({{PageNumber{16}, 2}, {PageNumber{32}, 1}});
  int calls = 0;
  EXPECT_FALSE(for_each_part(ranges, 0, 3 * page_size, [&](auto, auto, auto) {
    ++calls;
    return false;
  }));
  EXPECT_EQ(calls, 1);
}

TEST(DeviceHealth, FollowsItsOwnPort) {
  using News = DeviceHealth::News;
  DeviceHealth health(2, true);
  EXPECT_EQ(health.on_event({IBV_EVENT_PORT_ACTIVE, 2}), News::none);  // it was
  EXPECT_EQ(health.on_event({IBV_EVENT_PORT_ERR, 1}), News::none);
  EXPECT_TRUE(health.usable());
  EXPECT_EQ(health.on_event({IBV_EVENT_PORT_ERR, 2}), News::port_down);
  EXPECT_EQ(health.on_event({IBV_EVENT_PORT_ERR, 2}), News::none);
  EXPECT_FALSE(health.usable());
  EXPECT_EQ(health.on_event({IBV_EVENT_PORT_ACTIVE, 2}), News::port_up);
  EXPECT_TRUE(health.usable());
}
TEST(DeviceHealth, AFailureIsToldOnceAndStays) {
  using News = DeviceHealth::News;
  for (const ibv_event_type fatal : {IBV_EVENT_DEVICE_FATAL, IBV_EVENT_CQ_ERR}) {
    DeviceHealth health(1, true);
    EXPECT_EQ(health.on_event({IBV_EVENT_QP_FATAL, 0}), News::none);
    EXPECT_TRUE(health.usable());
    EXPECT_EQ(health.on_event({fatal, 0}), News::failed);
    EXPECT_EQ(health.on_gone(), News::none);
    EXPECT_EQ(health.on_event({IBV_EVENT_PORT_ACTIVE, 1}), News::none);
    EXPECT_FALSE(health.usable());
  }
}

TEST(OnDemand, IsDecidedByWhatTheDeviceCanDoOverReliableConnections) {
  ibv_odp_caps caps = {};
  EXPECT_FALSE(reads_on_demand(caps));
  caps.general_caps = IBV_ODP_SUPPORT;
  caps.per_transport_caps.rc_odp_caps = IBV_ODP_SUPPORT_SEND;
  caps.per_transport_caps.ud_odp_caps = IBV_ODP_SUPPORT_READ;
  EXPECT_FALSE(reads_on_demand(caps));
  caps.per_transport_caps.rc_odp_caps |= IBV_ODP_SUPPORT_READ;
  EXPECT_TRUE(reads_on_demand(caps));
  caps.general_caps = 0;
  EXPECT_FALSE(reads_on_demand(caps));
}

/// Opens any number of doors, and counts those that are open.
class CountedDoors final : public Doors {
 public:
  Result<rpc::Door> open() override { return rpc::Door{++open_, 5, 0, {}}; }
  void close(const rpc::Door&) noexcept override { --open_; }
  [[nodiscard]] std::uint32_t count() const { return open_; }

 private:
  std::uint32_t open_ = 0;
};

TEST(RegisteredPool, IsPinnedWhereTheDeviceNeedsItOrReadersComeThroughDoors) {
  CountedDoors doors;
  RegisteredPool plain({7, 0x1234}, PageRanges({{PageNumber{16}, 2}}));
  RegisteredPool with_doors({8, 0x1234}, PageRanges({{PageNumber{16}, 2}}), &doors);
  ASSERT_TRUE(plain.open_doors());
  ASSERT_TRUE(with_doors.open_doors());
  EXPECT_TRUE(plain.wants_pinned(false));
  EXPECT_FALSE(plain.wants_pinned(true));
  EXPECT_TRUE(with_doors.wants_pinned(true));
}

TEST(RegisteredPool, TellsItsDoorsAndClosesThemAtItsEnd) {
  CountedDoors doors;
  RegisteredPool pool({7, 0x1234}, PageRanges({{PageNumber{16}, 2}}), &doors,
                      {{PageNumber{16}, 2}});
  ASSERT_TRUE(pool.open_doors());
  EXPECT_EQ(pool.tell({7, 0x1234})->doors.size(), 2u);
  EXPECT_EQ(doors.count(), 2u);
  EXPECT_TRUE(pool.revoke().ok());
  EXPECT_EQ(doors.count(), 0u);
  EXPECT_EQ(pool.open_doors().code(), Errc::revoked);
}

TEST(RegisteredPool, TellsNothingToWhoHasAnotherKeyNorAfterItsEnd) {
  RegisteredPool pool({7, 0x1234}, PageRanges({{PageNumber{16}, 2}}));
  EXPECT_EQ(pool.tell({7, 0x1235}).code(), Errc::revoked);
  ASSERT_TRUE(pool.tell({7, 0x1234}));
  EXPECT_FALSE(pool.tell({7, 0x1234})->complete);
  pool.finish();
  EXPECT_TRUE(pool.tell({7, 0x1234})->complete);
  EXPECT_TRUE(pool.revoke().ok());
  EXPECT_EQ(pool.tell({7, 0x1234}).code(), Errc::revoked);
}

TEST(CompletionWords, EachStatusHasItsOwn) {
  std::set<std::string> seen;
  for (int status = IBV_WC_SUCCESS; status <= IBV_WC_GENERAL_ERR; ++status) {
    seen.insert(words(static_cast<ibv_wc_status>(status)));
  }
  EXPECT_GE(seen.size(), 17u);  // all that a read can have, and one for the rest
}

TEST(CompletionWords, ARefusedKeyIsNotALostConnection) {
  EXPECT_EQ(errc_of(IBV_WC_SUCCESS), Errc::ok);
  EXPECT_EQ(errc_of(IBV_WC_REM_ACCESS_ERR), Errc::page_unavailable);
  EXPECT_EQ(errc_of(IBV_WC_LOC_PROT_ERR), Errc::invalid_argument);
  for (const ibv_wc_status lost :
       {IBV_WC_RETRY_EXC_ERR, IBV_WC_WR_FLUSH_ERR, IBV_WC_REM_OP_ERR, IBV_WC_FATAL_ERR}) {
    EXPECT_EQ(errc_of(lost), Errc::connection_lost);
  }
}

/// Waits until there is an answer; false after 30 s.
bool wait_for(const Errands& errands) {
  pollfd waiting{errands.wait_fd(), POLLIN, 0};
  return ::poll(&waiting, 1, 30'000) == 1;
}

TEST(Errands, RunElsewhereAndAnswerHere) {
  Errands errands;
  const auto here = std::this_thread::get_id();
  std::thread::id ran;
  std::thread::id answered;
  ASSERT_TRUE(errands.run([&]() -> Errands::Answer {
    ran = std::this_thread::get_id();
    return [&] { answered = std::this_thread::get_id(); };
  }));
  ASSERT_TRUE(wait_for(errands));
  EXPECT_TRUE(errands.ready());
  errands.finish();
  EXPECT_NE(ran, here);
  EXPECT_EQ(answered, here);
  EXPECT_FALSE(errands.ready());
}

TEST(Errands, OneThatHangsDoesNotHoldTheOthersUp) {
  std::atomic<bool> let_go{false};
  Errands errands;
  ASSERT_TRUE(errands.run([&]() -> Errands::Answer {
    while (!let_go) std::this_thread::yield();
    return [] {};
  }));
  int answers = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(errands.run([&]() -> Errands::Answer { return [&] { ++answers; }; }));
  }
  while (answers < 20) {
    ASSERT_TRUE(wait_for(errands));
    errands.finish();
  }
  let_go = true;
}

TEST(Errands, AnswersThatNobodyTakesAreDropped) {
  int answers = 0;
  {
    Errands errands;
    ASSERT_TRUE(errands.run([&]() -> Errands::Answer { return [&] { ++answers; }; }));
    ASSERT_TRUE(wait_for(errands));
  }
  EXPECT_EQ(answers, 0);
}

}  // namespace
}  // namespace mitosis::verbs
