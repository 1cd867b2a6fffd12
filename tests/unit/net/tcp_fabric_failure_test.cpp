// SPDX-License-Identifier: MIT
// TcpFabric against absent, dying, stalled and hostile peers: the right error, in time, and never
// a byte outside a live request's memory.
#include <gtest/gtest.h>

#include <mitosis/net/tcp/serve_lane.hpp>

#include <functional>
#include <string>

#include "fabric_driver.hpp"
#include "fake_server.hpp"

namespace mitosis::test {
namespace {

TEST(TcpFabricFailure, UnknownMachineIsUnreachable) {
  tcp::AddressBook book;
  FabricDriver<RC> driver(book);
  EXPECT_EQ(driver.read(driver.request(0, 4096)), Errc::machine_unreachable);
  EXPECT_EQ(driver.fabric->last_failure().code, Errc::machine_unknown);
  EXPECT_EQ(driver.fabric->last_failure().machine, server_machine);
}

TEST(TcpFabricFailure, NobodyListensThenSomebodyDoes) {
  NoService service;
  tcp::AddressBook book;
  {
    TestServer gone(service);
    ASSERT_TRUE(book.set(server_machine, gone.address).ok());
  }
  FabricDriver<RC> driver(book);
  EXPECT_EQ(driver.read(driver.request(0, 4096)), Errc::machine_unreachable);
  TestServer back(service);
  ASSERT_TRUE(book.set(server_machine, back.address).ok());
  const ReadRequest r = driver.request(0, 4096);
  EXPECT_EQ(driver.read(r), Errc::ok);
  EXPECT_TRUE(driver.right(r));
}

TEST(TcpFabricFailure, WrongSecretServesNothingAndIsReportedOnBothSides) {
  NoService service;
  std::mutex mutex;
  std::vector<Errc> refusals;
  std::string said;
  tcp::Server::Options options;
  options.on_refusal = [&](const Error& e) {
    const std::lock_guard lock(mutex);
    refusals.push_back(e.code);
    said = e.subject.c_str();
  };
  TestServer server(service, "127.0.0.1", options);
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book, identity(client_machine, "not the secret !!"));
  EXPECT_EQ(driver.read(driver.request(0, 4096)), Errc::machine_unreachable);
  EXPECT_EQ(driver.fabric->last_failure().code, Errc::authentication_failed);
  server.server->stop();
  ASSERT_EQ(refusals.size(), 1u);
  EXPECT_EQ(refusals[0], Errc::authentication_failed);
  EXPECT_EQ(said.substr(0, 15), "from 127.0.0.1:");
}

TEST(TcpFabricFailure, AServerOfAnotherMachineIsRefused) {
  NoService service;
  TestServer server(service);
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(MachineId{77}, server.address).ok());
  FabricDriver<RC> driver(book);
  EXPECT_EQ(driver.read(driver.request(0, 4096, Lane::demand, MachineId{77})),
            Errc::machine_unreachable);
  EXPECT_EQ(driver.fabric->last_failure().code, Errc::authentication_failed);
}

TEST(TcpFabricFailure, APeerThatListensButIsSilentIsGivenUp) {
  const auto listener = tcp::listen_on(*tcp::resolve("127.0.0.1:0"));
  tcp::AddressBook book;
  ASSERT_TRUE(
      book.set(server_machine, "127.0.0.1:" + std::to_string(tcp::local_port(listener->get())))
          .ok());
  FabricDriver<RC> driver(book, identity(client_machine), {.connect_ms = 100});
  EXPECT_EQ(driver.read(driver.request(0, 4096)), Errc::machine_unreachable);
}

TEST(TcpFabricFailure, RequestsThatWaitForTheHandshakeStillTimeOut) {
  const auto listener = tcp::listen_on(*tcp::resolve("127.0.0.1:0"));
  tcp::AddressBook book;
  ASSERT_TRUE(
      book.set(server_machine, "127.0.0.1:" + std::to_string(tcp::local_port(listener->get())))
          .ok());
  FabricDriver<RC> driver(book, identity(client_machine), {.connect_ms = 60'000});
  EXPECT_EQ(driver.read(driver.request(0, 64, Lane::demand, server_machine, 50)), Errc::timed_out);
}

TEST(TcpFabricFailure, PeerThatClosesInAPayloadLosesItsRequestsAndIsReconnected) {
  PatternTarget targets;
  FakeServer server([&](int fd, int connection) {
    if (connection > 0) return tcp::LaneServer(fd, targets).run();
    tcp::LaneRequest request;
    ASSERT_TRUE(FakeServer::receive(fd, request));
    const tcp::PartHeader header{request.sequence, 0, request.bytes};
    FakeServer::send(fd, &header, sizeof(header));
    FakeServer::send(fd, "some bytes", 10);
  });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book);
  driver.post({driver.request(0, 4096), driver.request(0, 4096)});
  ASSERT_TRUE(driver.complete(2));
  EXPECT_EQ(driver.status[0], Errc::connection_lost);
  EXPECT_EQ(driver.status[1], Errc::connection_lost);
  const ReadRequest r = driver.request(0x5000, 4096);
  EXPECT_EQ(driver.read(r), Errc::ok);
  EXPECT_TRUE(driver.right(r));
}

TEST(TcpFabricFailure, AnIdleConnectionThatThePeerClosesIsNoticedAndReplaced) {
  PatternTarget targets;
  Signal close_now;
  FakeServer server([&](int fd, int connection) {
    if (connection > 0) return tcp::LaneServer(fd, targets).run();
    tcp::LaneRequest request;
    ASSERT_TRUE(FakeServer::receive(fd, request));
    FakeServer::send_part(fd, request.sequence, request.address, request.bytes);
    close_now.wait();
  });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book);
  EXPECT_EQ(driver.read(driver.request(0, 64)), Errc::ok);
  close_now.set();
  pollfd closed{driver.fabric->wait_fd(), POLLIN, 0};
  ASSERT_EQ(::poll(&closed, 1, 10'000), 1);
  ReadCompletion none[1];
  EXPECT_EQ(driver.fabric->poll(none, tcp::monotonic_now()), 0u);
  EXPECT_EQ(driver.fabric->sockets(), 0u);
  EXPECT_EQ(driver.read(driver.request(0, 64)), Errc::ok);
}

TEST(TcpFabricFailure, StalledPeerTimesOutAndItsLateBytesLandNowhere) {
  Signal late;
  FakeServer server([&](int fd, int) {
    tcp::LaneRequest first;
    ASSERT_TRUE(FakeServer::receive(fd, first));
    // Half of the payload before the deadline, the rest after it.
    const tcp::PartHeader header{first.sequence, 0, first.bytes};
    FakeServer::send(fd, &header, sizeof(header));
    const std::vector<std::uint8_t> half(first.bytes / 2, std::uint8_t{0x55});
    FakeServer::send(fd, half.data(), half.size());
    late.wait();
    FakeServer::send(fd, half.data(), half.size());
    tcp::LaneRequest second;
    ASSERT_TRUE(FakeServer::receive(fd, second));
    FakeServer::send_part(fd, second.sequence, second.address, second.bytes);
    FakeServer::wait_for_close(fd);
  });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book);
  const ReadRequest slow = driver.request(0, 40'000, Lane::demand, server_machine, 200);
  const Time began = tcp::monotonic_now();
  EXPECT_EQ(driver.read(slow), Errc::timed_out);
  EXPECT_LT(tcp::monotonic_now(), began + 5000 * tcp::nanoseconds_per_ms);
  std::fill(slow.into.data, slow.into.data + slow.bytes, std::uint8_t{0xaa});
  late.set();
  const ReadRequest next = driver.request(0x9000, 4096);
  EXPECT_EQ(driver.read(next), Errc::ok);
  EXPECT_TRUE(driver.right(next));
  for (std::uint32_t i = 0; i < slow.bytes; ++i) ASSERT_EQ(slow.into.data[i], 0xaa) << i;
}

TEST(TcpFabricFailure, APeerThatNeverAnswersDoesNotMakeMemoryGrow) {
  FakeServer server([&](int fd, int) { FakeServer::wait_for_close(fd); });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book);
  // Once many replies are overdue the connection is dropped: then a request is lost, not late.
  bool dropped = false;
  for (std::size_t round = 1; round <= 20 && !dropped; ++round) {
    std::vector<ReadRequest> batch;
    for (int i = 0; i < 40; ++i) {
      batch.push_back(driver.request(0, 1, Lane::demand, server_machine, 20));
    }
    driver.post(batch);
    ASSERT_TRUE(driver.complete(driver.buffers.size()));
    dropped = driver.fabric->sockets() == 0;
  }
  EXPECT_TRUE(dropped);
  EXPECT_STREQ(driver.fabric->last_failure().subject.c_str(), "the peer is stuck");
}

struct Hostile {
  const char* name;
  /// What is sent back for a request of 4096 bytes.
  std::function<void(int fd, const tcp::LaneRequest&)> reply;
};
class HostileServer : public ::testing::TestWithParam<Hostile> {};

TEST_P(HostileServer, LosesItsConnectionAndWritesNothingOutsideTheRequest) {
  FakeServer server([&](int fd, int) {
    tcp::LaneRequest request;
    if (!FakeServer::receive(fd, request)) return;
    GetParam().reply(fd, request);
    FakeServer::wait_for_close(fd);
  });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  for (const std::size_t outstanding : {1u, 2u}) {
    FabricDriver<RC> driver(book);
    std::vector<ReadRequest> batch;
    for (std::size_t i = 0; i < outstanding; ++i) {
      ReadRequest r = driver.request(0, 3 * 4096);
      r.bytes = 4096;
      r.into.data += 4096;
      batch.push_back(r);
    }
    driver.post(batch);
    ASSERT_TRUE(driver.complete(outstanding, 5000));
    EXPECT_EQ(driver.status[outstanding - 1], Errc::connection_lost);
    for (const auto& buffer : driver.buffers) {
      for (std::size_t i = 0; i < 4096; ++i) {
        ASSERT_EQ((*buffer)[i], 0xee);
        ASSERT_EQ((*buffer)[2 * 4096 + i], 0xee);
      }
    }
  }
}

void send_header(int fd, std::uint64_t sequence, std::uint32_t status, std::uint32_t bytes,
                 std::size_t payload) {
  std::vector<std::uint8_t> all(sizeof(tcp::PartHeader) + payload, std::uint8_t{0x11});
  const tcp::PartHeader header{sequence, status, bytes};
  std::memcpy(all.data(), &header, sizeof(header));
  FakeServer::send(fd, all.data(), all.size());
}
INSTANTIATE_TEST_SUITE_P(
    Replies, HostileServer,
    ::testing::Values(
        Hostile{"another_sequence",
                [](int fd, const tcp::LaneRequest& r) {
                  send_header(fd, r.sequence + 1, 0, 4096, 4096);
                }},
        Hostile{
            "too_long",
            [](int fd, const tcp::LaneRequest& r) { send_header(fd, r.sequence, 0, 8192, 8192); }},
        Hostile{"huge",
                [](int fd, const tcp::LaneRequest& r) {
                  send_header(fd, r.sequence, 0, 0xffffffffu, 100'000);
                }},
        Hostile{
            "too_short",
            [](int fd, const tcp::LaneRequest& r) { send_header(fd, r.sequence, 0, 4095, 4095); }},
        Hostile{"empty",
                [](int fd, const tcp::LaneRequest& r) { send_header(fd, r.sequence, 0, 0, 0); }},
        Hostile{
            "unknown_status",
            [](int fd, const tcp::LaneRequest& r) { send_header(fd, r.sequence, 60'000, 0, 0); }},
        Hostile{
            "error_with_bytes",
            [](int fd, const tcp::LaneRequest& r) { send_header(fd, r.sequence, 27, 4096, 4096); }},
        Hostile{"noise",
                [](int fd, const tcp::LaneRequest&) {
                  const std::vector<std::uint8_t> noise(70'000, std::uint8_t{0x5a});
                  FakeServer::send(fd, noise.data(), noise.size());
                }}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(TcpFabricFailure, BytesThatNobodyAskedForEndTheConnection) {
  FakeServer server([&](int fd, int) {
    send_header(fd, 0xbad, 0, 64, 64);
    FakeServer::wait_for_close(fd);
  });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book);
  EXPECT_NE(driver.read(driver.request(0, 4096)), Errc::ok);
  EXPECT_EQ(driver.fabric->sockets(), 0u);
}

TEST(TcpFabricFailure, ConnectionsThatBreakAgainAndAgainAreRetriedLessOften) {
  FakeServer server([](int, int) {});  // closes after each handshake
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  FabricDriver<RC> driver(book, identity(client_machine),
                          {.backoff_min_ms = 20, .backoff_max_ms = 80});
  const Time began = tcp::monotonic_now();
  for (int i = 0; i < 6; ++i) {
    const Errc status = driver.read(driver.request(0, 64));
    EXPECT_TRUE(status == Errc::connection_lost || status == Errc::machine_unreachable);
  }
  // 0 + 20 + 40 + 80 + 80 ms before the second to the sixth try.
  EXPECT_GE(tcp::monotonic_now(), began + 200 * tcp::nanoseconds_per_ms);
}

}  // namespace
}  // namespace mitosis::test
