// SPDX-License-Identifier: MIT
// VerbsFabric<DCT> on devices of memory: what its owner tells, the doors that a read takes, what
// goes the second way and when; the life of a parent's doors.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <mitosis/net/verbs/dct/dct_reads.hpp>
#include <mitosis/net/verbs/dct/memory_device.hpp>
#include <mitosis/net/verbs/dct/parent_doors.hpp>
#include <mitosis/net/verbs/fabric.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::verbs {
namespace {

constexpr std::uint32_t page = 4096;
constexpr std::uint32_t remote_key = 9;
constexpr std::uint64_t base = 0x10000;  // where the parents have their memory
constexpr std::uint32_t pages = 8;
constexpr std::uint64_t no_deadline_ms = 60'000;

DcPort port_of(std::uint32_t machine) {
  DcPort port;
  port.gid[14] = static_cast<std::uint8_t>(machine >> 8);
  port.gid[15] = static_cast<std::uint8_t>(machine);
  return port;
}

/// The second way: it answers at once, as it is told to.
class Second {
 public:
  explicit Second(Errc& answer) : answer_(&answer) {}
  void post(Span<const ReadRequest> batch) noexcept {
    for (const ReadRequest& request : batch) done_.push_back({request.cookie, *answer_});
  }
  std::size_t poll(Span<ReadCompletion> done, Time) noexcept {
    std::size_t n = 0;
    for (; n < done.size() && !done_.empty(); ++n) {
      done[n] = done_.back();
      done_.pop_back();
    }
    return n;
  }
  void forget(MachineId) noexcept {}
  [[nodiscard]] bool busy() const noexcept { return !done_.empty(); }
  [[nodiscard]] int wait_fd() const noexcept { return -1; }
  [[nodiscard]] Time next_deadline() const noexcept { return Time::never; }

 private:
  Errc* answer_;
  std::vector<ReadCompletion> done_;
};

/// A machine with one parent of eight pages, the last four of which are an area of their own.
struct Owner {
  Owner(MemoryDevices& all, std::uint32_t machine)
      : machine(machine),
        device(all, port_of(machine)),
        doors(device, port_of(machine), 4),
        parent(&doors, {{page_of(base + 4 * page), 4}}) {
    std::vector<std::uint8_t>& memory = all.port(port_of(machine)).regions[remote_key];
    memory.resize(std::size_t{pages} * page);
    for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = byte(i);
    EXPECT_TRUE(parent.open().ok());
  }
  [[nodiscard]] std::uint8_t byte(std::size_t at) const {
    return static_cast<std::uint8_t>(machine * 31 + at * 7 + at / page);
  }
  /// Nothing once it is reclaimed.
  [[nodiscard]] std::optional<rpc::PiecesReply> tell() const {
    if (parent.told().empty()) return std::nullopt;
    rpc::PiecesReply reply;
    reply.complete = true;
    reply.doors = parent.told();
    parent.split(base, std::uint64_t{pages} * page,
                 [&](std::uint64_t start, std::uint64_t bytes, std::uint32_t door) {
                   reply.pieces.push_back({start, bytes, start - base, remote_key, door});
                   return true;
                 });
    return reply;
  }
  std::uint32_t machine;
  MemoryDevice device;
  DcDoors<MemoryDevice> doors;
  ParentDoors parent;
};

/// What owners tell; errands ask it from their threads.
class Control final : public ControlPath {
 public:
  Result<rpc::QueuePairEnd> connect(MachineId, const rpc::ConnectQueuePair&, Time) override {
    return Error(Errc::transport_unsupported);
  }
  Result<rpc::ConnectionPlace> place(MachineId, const rpc::ExpectConnection&, Time) override {
    return Error(Errc::transport_unsupported);
  }
  Result<rpc::PiecesReply> pieces(MachineId peer, const TargetName&, Time) override {
    const std::lock_guard lock(mutex_);
    ++asked_;
    const std::optional<rpc::PiecesReply>& told = told_.at(peer);
    if (!told) return Error(Errc::revoked);
    return rpc::PiecesReply(*told);
  }
  void tell(MachineId peer, const std::optional<rpc::PiecesReply>& what) {
    const std::lock_guard lock(mutex_);
    told_.insert_or_assign(peer, what);
  }
  int asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  std::mutex mutex_;
  std::map<MachineId, std::optional<rpc::PiecesReply>> told_;
  int asked_ = 0;
};

class DctFabric : public testing::Test {
 protected:
  using Verbs = VerbsFabric<DCT, Second, DctReads<MemoryDevice>>;
  DctFabric() : device_(all_, port_of(0)) {
    FabricOptions options;
    options.ask_again_ms = 0;
    options.on_loss = [this](const Error&) { ++losses_; };
    fabric_ =
        std::move(Verbs::open(device_, control_, std::make_unique<Second>(second_says_), options))
            .value();
  }
  Owner& owner(std::uint32_t machine) {
    std::unique_ptr<Owner>& made = owners_[machine];
    if (made == nullptr) {
      made = std::make_unique<Owner>(all_, machine);
      control_.tell(MachineId{machine}, made->tell());
    }
    return *made;
  }
  ReadRequest request(std::uint32_t machine, std::uint64_t cookie, std::uint64_t at,
                      std::uint32_t bytes = page, std::uint64_t ms = no_deadline_ms) {
    owner(machine);
    memory_[cookie].assign(bytes, 0);
    ReadRequest request;
    request.peer = MachineId{machine};
    request.target = {77, 5};
    request.remote_address = base + at;
    request.bytes = bytes;
    request.into = {memory_[cookie].data(), 1};
    request.cookie = cookie;
    request.deadline = tcp::deadline_in(ms);
    return request;
  }
  void post(const ReadRequest& request) { fabric_->post(Span<const ReadRequest>(&request, 1)); }
  /// Polls once, at that time; how many ended.
  std::size_t poll(Time now = tcp::monotonic_now()) {
    ReadCompletion done[16];
    const std::size_t count = fabric_->poll(Span<ReadCompletion>(done), now);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(ended_.emplace(done[i].cookie, done[i].status).second) << "ended twice";
    }
    return count;
  }
  /// The end of a read, which must come.
  Errc end_of(std::uint64_t cookie) {
    const Time late = tcp::deadline_in(10'000);
    while (!ended_.contains(cookie) && tcp::monotonic_now() < late) poll();
    return ended_.contains(cookie) ? ended_[cookie] : Errc::timed_out;
  }
  /// Until the machine's answer has been taken in: a first read goes the second way, and asks.
  void learn(std::uint32_t machine) {
    const Time late = tcp::deadline_in(10'000);
    const std::uint64_t before = fabric_->counts().rdma;
    while (fabric_->counts().rdma == before && tcp::monotonic_now() < late) {
      const std::uint64_t cookie = 1'000'000 + ++learning_;
      post(request(machine, cookie, 0));
      end_of(cookie);
    }
    ASSERT_GT(fabric_->counts().rdma, before);
  }
  bool right(std::uint32_t machine, std::uint64_t cookie, std::uint64_t at) {
    for (std::size_t i = 0; i < memory_[cookie].size(); ++i) {
      if (memory_[cookie][i] != owners_[machine]->byte(at + i)) return false;
    }
    return true;
  }
  bool untouched(std::uint64_t cookie) {
    return memory_[cookie] == std::vector<std::uint8_t>(memory_[cookie].size(), 0);
  }

  MemoryDevices all_;
  MemoryDevice device_;
  Control control_;
  std::map<std::uint32_t, std::unique_ptr<Owner>> owners_;
  std::map<std::uint64_t, std::vector<std::uint8_t>> memory_;
  std::map<std::uint64_t, Errc> ended_;
  std::uint64_t learning_ = 0;
  int losses_ = 0;
  Errc second_says_ = Errc::ok;
  std::unique_ptr<Verbs> fabric_;
};

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

// ---- ParentDoors --------------------------------------------------------------------------------

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
