// SPDX-License-Identifier: MIT
// TcpFabric against a real server over loopback: the right bytes, each request exactly once,
// demand reads past bulk ones, and a fixed number of sockets with DCT.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <type_traits>

#include "fabric_driver.hpp"
#include "fake_server.hpp"

namespace mitosis::test {
namespace {

template <class Transport>
class TcpFabricTest : public ::testing::Test {
 protected:
  Signal release;  ///< before the server, whose threads may still look at it when a test is over
  NoService service;
  TestServer server{service};
  tcp::AddressBook book;

  void SetUp() override { ASSERT_TRUE(book.set(server_machine, server.address).ok()); }
};
struct TransportNames {
  template <class T>
  static std::string GetName(int) {
    return std::is_same_v<T, RC> ? "rc" : "dct";
  }
};
using Transports = ::testing::Types<RC, DCT>;
TYPED_TEST_SUITE(TcpFabricTest, Transports, TransportNames);

TYPED_TEST(TcpFabricTest, ReadsOnePage) {
  FabricDriver<TypeParam> driver(this->book);
  const ReadRequest r = driver.request(0x7f0000001000, 4096);
  EXPECT_EQ(driver.read(r), Errc::ok);
  EXPECT_TRUE(driver.right(r));
}

TYPED_TEST(TcpFabricTest, EveryByteIsRightAtRandomSizesOnBothLanes) {
  FabricDriver<TypeParam> driver(this->book);
  std::mt19937_64 random(7);
  std::vector<ReadRequest> all;
  for (int round = 0; round < 40; ++round) {
    std::vector<ReadRequest> batch;
    for (int i = 0; i < 12; ++i) {
      const unsigned shape = static_cast<unsigned>(random() % 10);
      const std::uint32_t limit = shape == 0 ? tcp::max_read : shape < 4 ? 300'000 : 9000;
      const auto bytes = static_cast<std::uint32_t>(1 + random() % limit);
      const Lane lane = random() % 3 == 0 ? Lane::demand : Lane::bulk;
      batch.push_back(driver.request(random() >> 16, bytes, lane));
    }
    driver.post(batch);
    all.insert(all.end(), batch.begin(), batch.end());
    if (round % 3 == 0) {
      ASSERT_TRUE(driver.complete(all.size()));
    }
  }
  ASSERT_TRUE(driver.complete(all.size()));
  EXPECT_EQ(driver.duplicates, 0);
  for (const ReadRequest& r : all) {
    ASSERT_EQ(driver.status[r.cookie], Errc::ok);
    ASSERT_TRUE(driver.right(r)) << r.bytes << " bytes";
  }
}

TYPED_TEST(TcpFabricTest, ThousandsOfSmallReadsInOneBatchAllArrive) {
  FabricDriver<TypeParam> driver(this->book);
  std::vector<ReadRequest> batch;
  for (std::uint64_t i = 0; i < 1000; ++i)
    batch.push_back(driver.request(i << 12, 4096, Lane::bulk));
  driver.post(batch);
  ASSERT_TRUE(driver.complete(batch.size()));
  for (const ReadRequest& r : batch) ASSERT_TRUE(driver.right(r)) << r.cookie;
}

TYPED_TEST(TcpFabricTest, WrongKeyAndWrongTargetReadNothingAndHarmNobodyElse) {
  FabricDriver<TypeParam> driver(this->book);
  ReadRequest wrong_key = driver.request(0x1000, 4096);
  wrong_key.target.key ^= 1;
  ReadRequest wrong_target = driver.request(0x1000, 300'000);
  wrong_target.target.number += 1;
  const ReadRequest right = driver.request(0x2000, 4096);
  driver.post({wrong_key, wrong_target, right});
  ASSERT_TRUE(driver.complete(3));
  EXPECT_EQ(driver.status[wrong_key.cookie], Errc::revoked);
  EXPECT_EQ(driver.status[wrong_target.cookie], Errc::revoked);
  EXPECT_EQ(driver.status[right.cookie], Errc::ok);
  EXPECT_TRUE(driver.right(right));
}

TYPED_TEST(TcpFabricTest, ReclaimInTheMiddleOfAReadEndsItAsRevoked) {
  FabricDriver<TypeParam> driver(this->book);
  int parts = 0;
  this->server.targets.before_read = [&](std::uint64_t, std::size_t) {
    if (++parts == 3) this->server.targets.revoke();
  };
  EXPECT_EQ(driver.read(driver.request(0, tcp::max_read, Lane::bulk)), Errc::revoked);
  EXPECT_EQ(driver.read(driver.request(0, 4096, Lane::bulk)), Errc::revoked);
}

TYPED_TEST(TcpFabricTest, DemandReadsPassBulkReadsThatThePeerHolds) {
  FabricDriver<TypeParam> driver(this->book);
  constexpr std::uint64_t slow = 1ull << 40;
  this->server.targets.before_read = [&](std::uint64_t address, std::size_t) {
    if (address >= slow) this->release.wait();
  };
  std::vector<ReadRequest> bulk;
  for (std::uint64_t i = 0; i < 8; ++i) {
    bulk.push_back(driver.request(slow + (i << 20), 1 << 20, Lane::bulk));
  }
  driver.post(bulk);
  for (std::uint64_t i = 0; i < 50; ++i) {
    const ReadRequest r = driver.request(i << 12, 4096);
    ASSERT_EQ(driver.read(r), Errc::ok);
    ASSERT_TRUE(driver.right(r));
  }
  EXPECT_EQ(driver.status.size(), 50u) << "a bulk read completed while it was held";
  this->release.set();
  ASSERT_TRUE(driver.complete(58));
  for (const ReadRequest& r : bulk) EXPECT_TRUE(driver.right(r));
}

TYPED_TEST(TcpFabricTest, OneLaneCompletesInOrder) {
  FabricDriver<TypeParam> driver(this->book);
  for (std::uint64_t i = 0; i < 20; ++i) {
    driver.post(driver.request(i << 20, i % 2 == 0 ? 100'000 : 64));
  }
  ASSERT_TRUE(driver.complete(20));
  for (std::uint64_t i = 0; i < 20; ++i) EXPECT_EQ(driver.order[i], i);
}

TYPED_TEST(TcpFabricTest, ForgetFailsWhatIsInFlightAndTheNextPostConnectsAnew) {
  FabricDriver<TypeParam> driver(this->book);
  this->server.targets.before_read = [&](std::uint64_t, std::size_t) { this->release.wait(); };
  driver.post({driver.request(0, 4096), driver.request(0, 4096, Lane::bulk)});
  driver.complete(1, 50);
  driver.fabric->forget(server_machine);
  ASSERT_TRUE(driver.complete(2));
  EXPECT_EQ(driver.status[0], Errc::connection_lost);
  EXPECT_EQ(driver.status[1], Errc::connection_lost);
  EXPECT_EQ(driver.fabric->sockets(), 0u);
  this->release.set();
  const ReadRequest again = driver.request(0x3000, 4096);
  EXPECT_EQ(driver.read(again), Errc::ok);
  EXPECT_TRUE(driver.right(again));
}

TYPED_TEST(TcpFabricTest, CompletionsThatDoNotFitAreDeliveredByTheNextPoll) {
  FabricDriver<TypeParam> driver(this->book);
  std::vector<ReadRequest> bad;
  for (int i = 0; i < 40; ++i) {
    bad.push_back(driver.request(0, 1));
    bad.back().bytes = i % 2 == 0 ? 0 : tcp::max_read + 1;
  }
  driver.post(bad);
  EXPECT_EQ(driver.fabric->next_deadline(), Time{0});
  ASSERT_TRUE(driver.complete(40));
  for (const auto& [cookie, status] : driver.status) EXPECT_EQ(status, Errc::invalid_argument);
  EXPECT_EQ(driver.fabric->next_deadline(), Time::never);
}

TYPED_TEST(TcpFabricTest, DestroyedWithReadsInFlightTouchesTheirMemoryNoMore) {
  this->server.targets.before_read = [&](std::uint64_t, std::size_t) { this->release.wait(); };
  {
    FabricDriver<TypeParam> driver(this->book);
    driver.post(driver.request(0, 1 << 20));
    driver.complete(1, 20);
  }
  this->release.set();  // the reply goes to a closed socket
}

TEST(TcpFabricDct, ReachesAHundredPeersOverEightSockets) {
  constexpr std::uint32_t peers = 100;
  NoService service;
  PatternTarget targets;
  tcp::AddressBook book;
  std::vector<std::unique_ptr<tcp::Server>> servers;
  for (std::uint32_t i = 0; i < peers; ++i) {
    auto server = tcp::Server::start({.listen = "127.0.0.1:0"}, identity(MachineId{100 + i}),
                                     targets, service);
    ASSERT_TRUE(server.ok());
    ASSERT_TRUE(
        book.set(MachineId{100 + i}, "127.0.0.1:" + std::to_string((*server)->port())).ok());
    servers.push_back(std::move(server).value());
  }
  FabricDriver<DCT> driver(book);
  std::vector<ReadRequest> all;
  std::mt19937 random(3);
  for (int i = 0; i < 600; ++i) {
    const Lane lane = i % 2 == 0 ? Lane::demand : Lane::bulk;
    all.push_back(driver.request(std::uint64_t{random()}, 4096, lane,
                                 MachineId{100 + static_cast<std::uint32_t>(random()) % peers}));
    driver.post(all.back());
    ASSERT_LE(driver.fabric->sockets(), 8u);
  }
  ASSERT_TRUE(driver.complete(all.size()));
  EXPECT_LE(driver.fabric->sockets(), 8u);
  for (const ReadRequest& r : all) {
    ASSERT_EQ(driver.status[r.cookie], Errc::ok);
    ASSERT_TRUE(driver.right(r));
  }
}

TEST(TcpFabricDct, TheWaitingLineIsBoundedAndEndsByDeadlines) {
  NoService service;
  Signal release;
  TestServer server(service);
  server.targets.before_read = [&](std::uint64_t, std::size_t) { release.wait(); };
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<DCT> driver(book);
  constexpr std::uint32_t waiting = TcpFabric<DCT>::max_waiting;
  std::vector<ReadRequest> batch;
  for (std::uint32_t i = 0; i < DCT::send_queue + waiting + 5; ++i) {
    batch.push_back(driver.request(i, 1, Lane::demand, server_machine, 300));
  }
  driver.post(batch);
  ASSERT_TRUE(driver.complete(batch.size()));
  release.set();
  std::size_t refused = 0;
  for (const auto& [cookie, status] : driver.status) {
    if (status == Errc::limit_exceeded) ++refused;
    EXPECT_TRUE(status == Errc::limit_exceeded || status == Errc::timed_out);
  }
  EXPECT_EQ(refused, 5u);
  EXPECT_EQ(driver.duplicates, 0);
}

}  // namespace
}  // namespace mitosis::test
