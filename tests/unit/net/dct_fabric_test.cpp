// SPDX-License-Identifier: MIT
// VerbsFabric<DCT> on devices of memory: what its owner tells, the doors that a read takes, what
// goes the second way and when.
#include "dct_fabric.hpp"

#include <poll.h>
#include <unistd.h>

namespace mitosis::verbs {
namespace {

TEST_F(DctFabric, ReadsThroughTheDoorThatItsOwnerHasTold) {
  learn(1);
  post(request(1, 1, 2 * page));
  EXPECT_EQ(end_of(1), Errc::ok);
  EXPECT_TRUE(right(1, 1, 2 * page));
  EXPECT_EQ(fabric_->counts().moved, 0u);
}

TEST_F(DctFabric, AReadOverTwoAreasTakesTheDoorOfEach) {
  learn(1);
  const int doorbells = device_.doorbells;
  post(request(1, 1, 3 * page, 2 * page));
  EXPECT_EQ(end_of(1), Errc::ok);
  EXPECT_TRUE(right(1, 1, 3 * page));
  EXPECT_EQ(device_.doorbells, doorbells + 2) << "two targets";
}

/// Or whoever sleeps on it would never sleep again.
TEST_F(DctFabric, WithNothingUnderWayItIsNotReadable) {
  learn(1);
  device_.hold_up = 1;
  post(request(1, 1, 0));
  const int before = device_.arms;
  poll();
  ASSERT_GT(device_.arms, before) << "it may be slept on";
  device_.hold_up = 0;
  EXPECT_EQ(end_of(1), Errc::ok);
  pollfd waiting{fabric_->wait_fd(), POLLIN, 0};
  const Time late = tcp::deadline_in(10'000);
  while (::poll(&waiting, 1, 0) > 0 && tcp::monotonic_now() < late) poll();
  EXPECT_EQ(::poll(&waiting, 1, 0), 0);
}

TEST_F(DctFabric, HundredsOfPeersAreReadThroughTheSameInitiators) {
  for (std::uint32_t machine = 1; machine <= 300; ++machine) {
    learn(machine);
    post(request(machine, machine, page));
    EXPECT_EQ(end_of(machine), Errc::ok);
    ASSERT_TRUE(right(machine, machine, page));
  }
  EXPECT_EQ(device_.initiators->size(), 8u);
}

TEST_F(DctFabric, WhoHasNoDoorsIsReadTheSecondWay) {
  std::optional<rpc::PiecesReply> told = owner(1).tell();
  told->doors.clear();
  control_.tell(MachineId{1}, told);
  for (std::uint64_t cookie = 1; cookie < 20; ++cookie) {
    post(request(1, cookie, 0));
    EXPECT_EQ(end_of(cookie), Errc::ok);
  }
  EXPECT_EQ(fabric_->counts().rdma, 0u);
}

TEST_F(DctFabric, AfterReclaimNothingIsReadAndTheSecondWayTellsWhy) {
  learn(1);
  owners_[1]->parent.close();
  control_.tell(MachineId{1}, owners_[1]->tell());
  second_says_ = Errc::revoked;
  post(request(1, 1, 0));
  EXPECT_EQ(end_of(1), Errc::revoked);
  EXPECT_TRUE(untouched(1));
  EXPECT_EQ(fabric_->counts().moved, 1u);
}

TEST_F(DctFabric, ReclaimInMidReadEndsWhatIsOut) {
  learn(1);
  device_.silent = true;
  for (std::uint64_t cookie = 1; cookie <= 5; ++cookie)
    post(request(1, cookie, 3 * page, 2 * page));
  owners_[1]->parent.close();
  device_.silent = false;
  second_says_ = Errc::revoked;
  for (std::uint64_t cookie = 1; cookie <= 5; ++cookie) {
    EXPECT_EQ(end_of(cookie), Errc::revoked);
    EXPECT_TRUE(untouched(cookie)) << cookie;
  }
}

TEST_F(DctFabric, AReadOfWhichOnePartFailsIsDoneAnewAsAWhole) {
  learn(1);
  device_.silent = true;
  post(request(1, 1, 3 * page, 2 * page));
  owners_[1]->doors.close(owners_[1]->parent.told()[1]);  // the area's alone
  device_.silent = false;
  second_says_ = Errc::page_unavailable;
  EXPECT_EQ(end_of(1), Errc::page_unavailable) << "what the second way says counts";
  EXPECT_EQ(fabric_->counts().moved, 1u);
}

TEST_F(DctFabric, ADoorOfAnotherParentOpensNothing) {
  learn(1);
  std::optional<rpc::PiecesReply> told = owners_[1]->tell();
  for (rpc::Door& door : told->doors) door.key ^= 1;
  control_.tell(MachineId{2}, told);
  owners_[2] = std::make_unique<Owner>(all_, 2);
  learn(2);  // it is tried, once or twice
  second_says_ = Errc::not_permitted;
  post(request(2, 1, 0));
  EXPECT_EQ(end_of(1), Errc::not_permitted);
  EXPECT_TRUE(untouched(1));
}

TEST_F(DctFabric, AKeyThatIsRefusedIsAskedForAnew) {
  learn(1);
  const int asked = control_.asked();
  all_.port(port_of(1)).regions[remote_key + 1] = all_.port(port_of(1)).regions[remote_key];
  all_.port(port_of(1)).regions.erase(remote_key);
  std::optional<rpc::PiecesReply> told = owners_[1]->tell();
  for (rpc::Piece& piece : told->pieces) ++piece.remote_key;
  control_.tell(MachineId{1}, told);
  post(request(1, 1, 0));
  EXPECT_EQ(end_of(1), Errc::ok);
  EXPECT_EQ(fabric_->counts().moved, 1u);
  EXPECT_EQ(losses_, 0) << "a refused key is no loss of the way";
  learn(1);
  EXPECT_GT(control_.asked(), asked);
  post(request(1, 2, page));
  EXPECT_EQ(end_of(2), Errc::ok);
  EXPECT_TRUE(right(1, 2, page));
}

TEST_F(DctFabric, APeerThatCannotBeReachedIsLeftAloneForAWhileAndComesBack) {
  learn(1);
  learn(2);
  all_.port(port_of(1)).up = false;
  for (std::uint64_t cookie = 1; cookie <= 100; ++cookie) {
    const int asked = control_.asked();
    post(request(1, cookie, 0));
    EXPECT_EQ(end_of(cookie), Errc::ok) << "the second way";
    // Its doors are told again at once: it is not for want of them that it is left alone.
    for (int i = 0; i < 20 && control_.asked() == asked; ++i) ::usleep(100);
  }
  EXPECT_EQ(losses_, 1) << "is told once";
  EXPECT_LT(fabric_->counts().moved, 15u) << "is not tried for each read";
  post(request(2, 200, 0));
  EXPECT_EQ(end_of(200), Errc::ok);
  EXPECT_TRUE(right(2, 200, 0)) << "another peer is not held up";
  all_.port(port_of(1)).up = true;
  learn(1);
}

TEST_F(DctFabric, ADeviceThatSaysNothingEndsAtTheDeadlineAndNothingLandsAfterwards) {
  learn(1);
  device_.silent = true;
  const ReadRequest read = request(1, 1, 3 * page, 2 * page, 1000);
  post(read);
  EXPECT_LE(fabric_->next_deadline(), read.deadline);
  poll();
  EXPECT_FALSE(ended_.contains(1));
  poll(read.deadline);
  EXPECT_EQ(ended_.at(1), Errc::timed_out);
  device_.silent = false;
  for (int i = 0; i < 10; ++i) poll();
  EXPECT_TRUE(untouched(1));
  EXPECT_FALSE(fabric_->busy());
}

TEST_F(DctFabric, ADeviceThatSaysNothingLeavesHalfOfTheTimeToTheSecondWay) {
  learn(1);
  device_.silent = true;
  const Time before = tcp::monotonic_now();
  const ReadRequest read = request(1, 1, 3 * page, 2 * page);
  post(read);
  poll(half_time(read.deadline, before) + (std::uint64_t{1} << 30));
  EXPECT_EQ(ended_.at(1), Errc::ok);
  EXPECT_EQ(fabric_->counts().moved, 1u);
  device_.silent = false;
  for (int i = 0; i < 10; ++i) poll();
  EXPECT_TRUE(untouched(1)) << "the device writes there no more";
}

TEST_F(DctFabric, AForgottenPeersReadsAreLostAndDoNotGoTheSecondWay) {
  learn(1);
  device_.silent = true;
  post(request(1, 1, 0));
  fabric_->forget(MachineId{1});
  EXPECT_EQ(end_of(1), Errc::connection_lost);
  EXPECT_EQ(fabric_->counts().moved, 0u);
}

TEST_F(DctFabric, WhoSleepsIsWokenByTheNextEnd) {
  learn(1);
  device_.silent = true;
  post(request(1, 1, 0));
  const int arms = device_.arms;
  for (int i = 0; i < 10; ++i) poll();
  EXPECT_EQ(device_.arms, arms + 1) << "armed, and once";
  device_.silent = false;
  EXPECT_EQ(end_of(1), Errc::ok);
}

TEST_F(DctFabric, MoreReadsThanThereIsRoomForGoTheSecondWay) {
  learn(1);
  device_.silent = true;
  for (std::uint64_t cookie = 1; cookie <= 1000; ++cookie) post(request(1, cookie, 0));
  device_.silent = false;
  for (std::uint64_t cookie = 1; cookie <= 1000; ++cookie) EXPECT_EQ(end_of(cookie), Errc::ok);
  EXPECT_GE(fabric_->counts().second, 1000 - 512u);
}

}  // namespace
}  // namespace mitosis::verbs
