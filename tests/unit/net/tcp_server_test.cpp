// SPDX-License-Identifier: MIT
// Server: survives hostile bytes, leaks no descriptor, and stops whatever its peers do.
#include <gtest/gtest.h>

#include <netinet/in.h>

#include <filesystem>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "fabric_driver.hpp"
#include "fake_server.hpp"

namespace mitosis::test {
namespace {

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator()));
}

/// A connected socket with a receive time-out, not authenticated.
UniqueFd connect_to(const std::string& address) {
  const tcp::Address to = *tcp::resolve(address);
  UniqueFd fd(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(::connect(fd.get(), to.raw(), to.length), 0);
  const timeval limit{10, 0};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  return fd;
}
/// The same, through the handshake.
UniqueFd connect_as(const std::string& address, auth::Purpose purpose) {
  UniqueFd fd = connect_to(address);
  tcp::FrameStream stream(fd.get());
  auth::ClientHandshake handshake(identity(client_machine), server_machine, purpose);
  EXPECT_TRUE(tcp::handshake_as_client(stream, handshake, tcp::deadline_in(5000)).ok());
  return fd;
}
/// Ok once a read succeeds; else, after many, the last one's status.
Errc read_again_and_again(FabricDriver<RC>& driver) {
  Errc status = Errc::last;
  for (int tries = 0; tries < 50 && status != Errc::ok; ++tries) {
    status = driver.read(driver.request(0, 64));
  }
  return status;
}

/// Whether a read over the lane is answered, so that the server has seen all of its handshake.
bool is_served(int fd) {
  tcp::LaneRequest request{good_target.number, 16, good_target.key, 0, 0};
  FakeServer::send(fd, &request, sizeof(request));
  std::uint8_t reply[32];
  return ::recv(fd, reply, sizeof(reply), MSG_WAITALL) == ssize_t{sizeof(reply)};
}

/// Whether the peer closes within the receive time-out; what it sends before is skipped.
bool closes(int fd) {
  std::uint8_t buffer[4096];
  ssize_t got = 0;
  do {
    got = ::recv(fd, buffer, sizeof(buffer), 0);
  } while (got > 0);
  return got == 0 || errno == ECONNRESET;
}

class TcpServer : public ::testing::Test {
 protected:
  NoService service;
  TestServer server{service, "127.0.0.1", {.handshake_ms = 300}};
  tcp::AddressBook book;
  void SetUp() override { ASSERT_TRUE(book.set(server_machine, server.address).ok()); }
  void expect_it_still_serves() {
    FabricDriver<RC> driver(book);
    const ReadRequest r = driver.request(0x1000, 4096);
    EXPECT_EQ(driver.read(r), Errc::ok);
    EXPECT_TRUE(driver.right(r));
  }
};

TEST_F(TcpServer, ListensOnIpv6Too) {
  TestServer six(service, "[::1]");
  ASSERT_TRUE(book.set(server_machine, six.address).ok());
  expect_it_still_serves();
}

TEST_F(TcpServer, AddressesThatCannotBeUsedAreNamed) {
  for (const char* bad : {"nowhere", "host:", "host:70000", "::1:80", "256.1.1.1.1:80"}) {
    const Result<void> set = book.set(MachineId{9}, bad);
    ASSERT_EQ(set.code(), Errc::invalid_argument) << bad;
    EXPECT_NE(std::string(set.error().subject.c_str()).find(bad), std::string::npos);
  }
  auto taken = tcp::Server::start({.listen = server.address}, identity(server_machine),
                                  server.targets, service);
  ASSERT_EQ(taken.code(), Errc::system_call_failed);
  EXPECT_EQ(taken.error().os_errno, EADDRINUSE);
}

TEST_F(TcpServer, ServesNothingBeforeTheHandshake) {
  const UniqueFd fd = connect_to(server.address);
  tcp::LaneRequest request{good_target.number, 4096, good_target.key, 0, 0};
  FakeServer::send(fd.get(), &request, sizeof(request));
  std::uint8_t buffer[8192];
  const ssize_t got = ::recv(fd.get(), buffer, sizeof(buffer), MSG_WAITALL);
  EXPECT_LT(got, 1024);  // at most an ErrorReply
  expect_it_still_serves();
}

TEST_F(TcpServer, HostileBytesEndTheirConnectionOnly) {
  std::mt19937 random(11);
  for (int i = 0; i < 60; ++i) {
    const UniqueFd fd = i % 3 == 0   ? connect_to(server.address)
                        : i % 3 == 1 ? connect_as(server.address, auth::Purpose::rpc)
                                     : connect_as(server.address, auth::Purpose::demand_reads);
    std::vector<std::uint8_t> noise(1 + random() % 5000);
    for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(random());
    FakeServer::send(fd.get(), noise.data(), noise.size());
    ::shutdown(fd.get(), SHUT_WR);
    EXPECT_TRUE(closes(fd.get())) << i;
  }
  expect_it_still_serves();
}

TEST_F(TcpServer, ReadsOfZeroOrTooManyBytesEndTheLane) {
  for (const std::uint32_t bytes : {0u, tcp::max_read + 1, 0xffffffffu}) {
    const UniqueFd fd = connect_as(server.address, auth::Purpose::bulk_reads);
    tcp::LaneRequest request{good_target.number, bytes, good_target.key, 0, 0};
    FakeServer::send(fd.get(), &request, sizeof(request));
    EXPECT_TRUE(closes(fd.get()));
  }
  expect_it_still_serves();
}

TEST_F(TcpServer, AnUnfinishedHandshakeIsDroppedAtItsDeadline) {
  const UniqueFd silent = connect_to(server.address);
  const UniqueFd trickling = connect_to(server.address);
  FakeServer::send(trickling.get(), "MIT1", 4);
  EXPECT_TRUE(closes(silent.get()));
  EXPECT_TRUE(closes(trickling.get()));
}

TEST_F(TcpServer, TooManyConnectionsAreRefusedUntilSomeEnd) {
  TestServer small(service, "127.0.0.1", {.max_connections = 2});
  {
    const UniqueFd a = connect_as(small.address, auth::Purpose::demand_reads);
    const UniqueFd b = connect_as(small.address, auth::Purpose::demand_reads);
    const UniqueFd c = connect_to(small.address);
    tcp::FrameStream stream(c.get());
    Result<wire::Frame> refused = stream.receive(4096, tcp::deadline_in(5000));
    ASSERT_TRUE(refused.ok());
    Result<ErrorReply> reply = refused->as<ErrorReply>();
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ(reply->error.code, Errc::limit_exceeded);
  }
  ASSERT_TRUE(book.set(server_machine, small.address).ok());
  FabricDriver<RC> driver(book);
  EXPECT_EQ(read_again_and_again(driver), Errc::ok);
}

TEST_F(TcpServer, ThoseWhoMerelyConnectKeepNobodyOut) {
  TestServer small(service, "127.0.0.1",
                   {.max_connections = 8, .handshake_ms = 60'000, .max_strangers = 4});
  const UniqueFd peer = connect_as(small.address, auth::Purpose::demand_reads);
  ASSERT_TRUE(is_served(peer.get())) << "the server knows that it has the secret";
  std::vector<UniqueFd> silent;
  for (int i = 0; i < 40; ++i) silent.push_back(connect_to(small.address));
  ASSERT_TRUE(book.set(server_machine, small.address).ok());
  FabricDriver<RC> driver(book);
  EXPECT_EQ(read_again_and_again(driver), Errc::ok);
  EXPECT_TRUE(closes(silent.front().get())) << "the oldest makes room";
  EXPECT_EQ(::send(peer.get(), "", 0, MSG_NOSIGNAL), 0);
  const timeval moment{0, 100'000};
  ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof(moment));
  EXPECT_FALSE(closes(peer.get())) << "who has the secret stays";
}

TEST_F(TcpServer, AConnectionPoolThatCallsIsServedOrToldThatThereIsNone) {
  const UniqueFd refused = connect_as(server.address, auth::Purpose::pool_link);
  tcp::FrameStream stream(refused.get());
  Result<wire::Frame> frame = stream.receive(4096, tcp::deadline_in(5000));
  ASSERT_TRUE(frame.ok());
  Result<ErrorReply> reply = frame->as<ErrorReply>();
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->error.code, Errc::transport_unsupported);
  EXPECT_TRUE(closes(refused.get()));

  tcp::Server::Options options;
  options.on_pool_link = [](int fd, const auth::Hello& hello) {
    const char answer = hello.machine == client_machine ? 'y' : 'n';
    FakeServer::send(fd, &answer, 1);
    char said = 0;  // until the other end or the server closes
    static_cast<void>(::recv(fd, &said, 1, 0));
  };
  TestServer with(service, "127.0.0.1", std::move(options));
  const UniqueFd served = connect_as(with.address, auth::Purpose::pool_link);
  char answer = 0;
  ASSERT_EQ(::recv(served.get(), &answer, 1, 0), 1);
  EXPECT_EQ(answer, 'y');
  with.server->stop();
  EXPECT_TRUE(closes(served.get()));
}

TEST_F(TcpServer, AThousandConnectionsLeaveNothingBehind) {
  const std::size_t before = open_descriptors();
  expect_it_still_serves();
  for (int i = 0; i < 1000; ++i) {
    const UniqueFd fd = connect_as(server.address, auth::Purpose::demand_reads);
    ASSERT_TRUE(is_served(fd.get()));
  }
  const Time end = tcp::deadline_in(5000);
  while (open_descriptors() > before && tcp::monotonic_now() < end) std::this_thread::yield();
  EXPECT_LE(open_descriptors(), before);
  EXPECT_EQ(server.server->connections(), 0u);
}

TEST_F(TcpServer, StopsWithPeersConnectedInEveryState) {
  const UniqueFd raw = connect_to(server.address);
  const UniqueFd calls = connect_as(server.address, auth::Purpose::rpc);
  const UniqueFd reads = connect_as(server.address, auth::Purpose::bulk_reads);
  // A peer that asks for much and takes nothing: the server is stuck in send.
  const UniqueFd greedy = connect_as(server.address, auth::Purpose::bulk_reads);
  for (std::uint64_t i = 0; i < 64; ++i) {
    tcp::LaneRequest request{good_target.number, tcp::max_read, good_target.key, 0, i};
    FakeServer::send(greedy.get(), &request, sizeof(request));
  }
  const Time began = tcp::monotonic_now();
  server.server->stop();
  EXPECT_LT(tcp::monotonic_now(), began + 5000 * tcp::nanoseconds_per_ms);
  EXPECT_EQ(server.server->connections(), 0u);
  EXPECT_TRUE(closes(reads.get()));
  EXPECT_TRUE(closes(calls.get()));
  server.server->stop();
}

}  // namespace
}  // namespace mitosis::test
