// SPDX-License-Identifier: MIT
// Dynamic connections on devices of memory: any number of peers through a fixed number of
// initiators, targets that end with their parents, errors that end in time.
#include <gtest/gtest.h>

#include <mitosis/net/verbs/dct/reads.hpp>
#include <mitosis/net/verbs/dct/targets.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "dct_machines.hpp"

namespace mitosis::verbs {
namespace {

using Reads = DcReads<MemoryDevice, 8, 256>;

/// A machine that has one parent of two pages.
struct Owner : DctMachine {
  Owner(MemoryDevices& all, std::uint32_t machine)
      : DctMachine(all, machine, 2), targets(device, 4), name(*targets.create()) {}
  DcTargets<MemoryDevice> targets;
  TargetName name;
};

class DctReads : public testing::Test {
 protected:
  DctReads() : device_(all_, port_of(0)), reads_(std::move(Reads::make(device_)).value()) {
    for (std::uint32_t machine = 0; machine < 1001; ++machine) {
      owners_.push_back(std::make_unique<Owner>(all_, machine));
    }
  }
  DcRead read(std::uint64_t machine, std::uint64_t cookie, Lane lane = Lane::demand) {
    memory_[cookie].assign(page, 0);
    DcRead read;
    read.request.peer = MachineId{static_cast<std::uint32_t>(machine)};
    read.request.target = owners_[machine]->name;
    read.request.bytes = page;
    read.request.lane = lane;
    read.request.into = {memory_[cookie].data(), 1};
    read.request.cookie = cookie;
    read.request.deadline = Time{1000};
    read.port = port_of(static_cast<std::uint32_t>(machine));
    read.from = {(cookie % 2) * page, page, remote_key};
    return read;
  }
  void post(const DcRead& read) { reads_->post(Span<const DcRead>(&read, 1)); }
  /// Ends by cookie; polls until nothing comes any more.
  std::map<std::uint64_t, Errc> ends(Time now = Time{1}) {
    std::map<std::uint64_t, Errc> all;
    ReadCompletion done[16];
    for (;;) {
      const std::size_t count = reads_->poll(Span<ReadCompletion>(done), now);
      if (count == 0) return all;
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_TRUE(all.emplace(done[i].cookie, done[i].status).second) << "ended twice";
      }
    }
  }
  bool right(std::uint64_t machine, std::uint64_t cookie) {
    for (std::size_t i = 0; i < page; ++i) {
      if (memory_[cookie][i] != owners_[machine]->byte((cookie % 2) * page + i)) return false;
    }
    return true;
  }

  MemoryDevices all_;
  MemoryDevice device_;
  std::vector<std::unique_ptr<Owner>> owners_;
  std::map<std::uint64_t, std::vector<std::uint8_t>> memory_;
  std::unique_ptr<Reads> reads_;
};

TEST_F(DctReads, AThousandPeersAreReadThroughTheSameInitiators) {
  std::size_t after_some = 0;
  for (std::uint32_t machine = 1; machine <= 1000; ++machine) {
    post(read(machine, machine));
    EXPECT_EQ(ends(), (std::map<std::uint64_t, Errc>{{machine, Errc::ok}}));
    ASSERT_TRUE(right(machine, machine)) << machine;
    if (machine == 20) after_some = device_.handles->size();
  }
  EXPECT_EQ(device_.initiators->size(), 8u);
  EXPECT_EQ(device_.handles->size(), after_some);
  EXPECT_EQ(device_.resets, 0);
}

TEST_F(DctReads, ManyAtOnceAllLandWhereTheyBelong) {
  std::vector<DcRead> batch;
  for (std::uint64_t cookie = 0; cookie < 250; ++cookie) {
    batch.push_back(read(1 + cookie % 100, cookie, cookie % 3 == 0 ? Lane::demand : Lane::bulk));
  }
  reads_->post(Span<const DcRead>(batch.data(), batch.size()));
  const auto done = ends();
  EXPECT_EQ(done.size(), 250u);
  for (const auto& [cookie, status] : done) {
    EXPECT_EQ(status, Errc::ok);
    EXPECT_TRUE(right(1 + cookie % 100, cookie)) << cookie;
  }
}

TEST_F(DctReads, ABatchToOneTargetIsOneDoorbell) {
  std::vector<DcRead> batch;
  for (std::uint64_t cookie = 0; cookie < 9; ++cookie) batch.push_back(read(1, cookie));
  reads_->post(Span<const DcRead>(batch.data(), batch.size()));
  EXPECT_EQ(device_.doorbells, 1);
  EXPECT_EQ(ends().size(), 9u);
}

TEST_F(DctReads, ReadsOfTwoParentsOfOneMachineGoToTheTargetOfEach) {
  DcRead first = read(1, 1), second = read(1, 2), third = read(1, 3);
  second.request.target = *owners_[1]->targets.create();
  owners_[1]->targets.destroy(owners_[1]->name.number);
  const DcRead batch[] = {second, first, third};
  reads_->post(Span<const DcRead>(batch));
  EXPECT_EQ(device_.doorbells, 2);
  const auto done = ends();
  EXPECT_EQ(done.at(2), Errc::ok);
  EXPECT_NE(done.at(1), Errc::ok);
  EXPECT_NE(done.at(3), Errc::ok);
}

TEST_F(DctReads, AWayThatIsInUseIsKeptHoweverManyOthersAreUsed) {
  device_.silent = true;
  post(read(1, 1));
  device_.hold_up = 1;
  device_.silent = false;
  for (std::uint64_t cookie = 2; cookie < 100; ++cookie) {
    post(read(cookie, cookie));
    EXPECT_EQ(ends().count(cookie), 1u);
  }
  device_.hold_up = 0;
  EXPECT_EQ(ends().at(1), Errc::ok);
  EXPECT_EQ(device_.misuse, 0);
}

TEST_F(DctReads, AfterAnyNumberOfFailuresAllInitiatorsWork) {
  for (std::uint64_t cookie = 1; cookie <= 100; ++cookie) {
    DcRead wrong = read(cookie, cookie);
    wrong.from.remote_key = 77;
    post(wrong);
    EXPECT_EQ(ends().at(cookie), Errc::page_unavailable);
  }
  std::vector<DcRead> batch;
  for (std::uint64_t cookie = 101; cookie <= 108; ++cookie) batch.push_back(read(cookie, cookie));
  reads_->post(Span<const DcRead>(batch.data(), batch.size()));
  EXPECT_EQ(device_.doorbells, 108) << "eight peers at once";
  for (const auto& [cookie, status] : ends()) EXPECT_EQ(status, Errc::ok) << cookie;
}

/// The same place in the table is used again before the ends of its last use have been told.
TEST_F(DctReads, AnEndFromBeforeAResetIsNotTakenForThatOfALaterRead) {
  device_.silent = true;
  for (std::uint64_t cookie = 0; cookie < 4; ++cookie) post(read(1, cookie));
  reads_->forget(MachineId{1});
  for (std::uint64_t cookie = 4; cookie < 8; ++cookie) post(read(1, cookie));
  device_.silent = false;
  const auto done = ends();
  ASSERT_EQ(done.size(), 8u);
  for (std::uint64_t cookie = 4; cookie < 8; ++cookie) {
    EXPECT_EQ(done.at(cookie), Errc::ok);
    EXPECT_TRUE(right(1, cookie));
  }
}

TEST_F(DctReads, MoreThanThereIsRoomForIsRefusedAndTheRestIsNot) {
  std::vector<DcRead> batch;
  for (std::uint64_t cookie = 0; cookie < 300; ++cookie) batch.push_back(read(1, cookie));
  reads_->post(Span<const DcRead>(batch.data(), batch.size()));
  int refused = 0;
  const auto done = ends();
  for (const auto& [cookie, status] : done) refused += status == Errc::limit_exceeded ? 1 : 0;
  EXPECT_EQ(done.size(), 300u);
  EXPECT_EQ(refused, 300 - 256);
}

TEST_F(DctReads, AReclaimedTargetIsGoneAndOthersAreReadOn) {
  owners_[1]->targets.destroy(owners_[1]->name.number);
  post(read(1, 1));
  post(read(2, 2));
  const auto done = ends();
  EXPECT_NE(done.at(1), Errc::ok);
  EXPECT_EQ(done.at(2), Errc::ok);
  post(read(3, 3));
  EXPECT_EQ(ends().at(3), Errc::ok);
  EXPECT_EQ(device_.resets, 1);
}

TEST_F(DctReads, ANumberThatIsUsedAgainIsNotOpenedByTheOldKey) {
  const DcRead old = read(1, 1);
  owners_[1]->targets.destroy(owners_[1]->name.number);
  const TargetName next = *owners_[1]->targets.create();
  ASSERT_EQ(next.number, owners_[1]->name.number) << "the test is about the same number";
  EXPECT_NE(next.key, owners_[1]->name.key);
  post(old);
  EXPECT_NE(ends().at(1), Errc::ok);
  EXPECT_EQ(memory_[1], std::vector<std::uint8_t>(page, 0));
}

TEST_F(DctReads, OneThatFailsHasItsReasonAndThoseBesideItAreTriedAgain) {
  DcRead wrong = read(1, 1);
  wrong.from.remote_key = 77;
  const DcRead batch[] = {read(1, 2), wrong, read(1, 3)};
  reads_->post(Span<const DcRead>(batch));
  EXPECT_EQ(ends(), (std::map<std::uint64_t, Errc>{
                        {2, Errc::ok}, {1, Errc::page_unavailable}, {3, Errc::connection_lost}}));
  post(read(1, 4));
  EXPECT_EQ(ends().at(4), Errc::ok);
}

TEST_F(DctReads, ADeviceThatSaysNothingEndsAtTheDeadlineAndNothingLandsAfterwards) {
  device_.silent = true;
  std::vector<DcRead> batch;
  // The second peer's reads also wait for an initiator, behind seven others.
  for (std::uint64_t cookie = 0; cookie < 200; ++cookie)
    batch.push_back(read(1 + cookie % 20, cookie));
  reads_->post(Span<const DcRead>(batch.data(), batch.size()));
  EXPECT_TRUE(ends(Time{999}).empty());
  std::map<std::uint64_t, Errc> done = ends(Time{1000});
  EXPECT_EQ(done.size(), 200u);
  for (const auto& [cookie, status] : done) EXPECT_EQ(status, Errc::timed_out) << cookie;
  device_.silent = false;
  EXPECT_TRUE(ends().empty());
  for (auto& [cookie, bytes] : memory_) EXPECT_EQ(bytes, std::vector<std::uint8_t>(page, 0));
  EXPECT_EQ(reads_->in_flight(), 0u);
}

TEST_F(DctReads, AForgottenPeersReadsAreLostAndOthersAreNot) {
  device_.silent = true;
  for (std::uint64_t cookie = 0; cookie < 10; ++cookie) post(read(cookie % 2 + 1, cookie));
  reads_->forget(MachineId{1});
  device_.silent = false;
  const auto done = ends();
  EXPECT_EQ(done.size(), 10u);
  for (const auto& [cookie, status] : done) {
    EXPECT_EQ(status, cookie % 2 == 0 ? Errc::connection_lost : Errc::ok) << cookie;
  }
}

TEST_F(DctReads, AnInitiatorThatCannotBeMadeAtTheStartIsAnError) {
  device_.refuse_initiators = true;
  EXPECT_EQ(Reads::make(device_).code(), Errc::system_call_failed);
  EXPECT_EQ(device_.initiators->size(), 8u);
}

TEST_F(DctReads, TargetsAreBounded) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(owners_[0]->targets.create().ok());
  EXPECT_EQ(owners_[0]->targets.create().code(), Errc::limit_exceeded);
  owners_[0]->targets.destroy_all();
  EXPECT_EQ(owners_[0]->targets.size(), 0u);
  EXPECT_TRUE(all_.port(port_of(0)).targets.empty());
}

}  // namespace
}  // namespace mitosis::verbs
