// SPDX-License-Identifier: MIT
// At most once: a call whose connection is cut, before or after it was executed, is neither lost
// nor executed twice; where nobody can tell, the caller is told so.
#include <gtest/gtest.h>

#include <mitosis/net/rpc/client.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "fake_server.hpp"
#include "test_server.hpp"

namespace mitosis::test {
namespace {

using std::chrono::milliseconds;

class CountingReclaims : public NoService {
 public:
  Result<void> reclaim(const rpc::Caller&, HandlerId, const AuthKey&) override {
    if (executed.fetch_add(1) > 0) return Errc::unknown_handler;
    return {};
  }
  std::atomic<int> executed{0};
};

/// Passes one connection after the other on to a server, and cuts each after so many bytes of the
/// client's, or of the server's, as the test says (the last entry holds for all further ones).
class CuttingProxy {
 public:
  struct Cut {
    std::size_t from_client = ~std::size_t{0};
    std::size_t from_server = ~std::size_t{0};
  };
  CuttingProxy(const std::string& to, std::vector<Cut> cuts)
      : to_(*tcp::resolve(to)),
        cuts_(std::move(cuts)),
        listener_(std::move(tcp::listen_on(*tcp::resolve("127.0.0.1:0"))).value()),
        address("127.0.0.1:" + std::to_string(tcp::local_port(listener_.get()))),
        thread_([this] { run(); }) {}
  ~CuttingProxy() {
    ending_.store(true);
    thread_.join();
  }

 private:
  void run() {
    for (std::size_t n = 0; !ending_.load();) {
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      const UniqueFd client(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const UniqueFd server(::socket(to_.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (::connect(server.get(), to_.raw(), to_.length) != 0) continue;
      pass(client.get(), server.get(), cuts_[std::min(n++, cuts_.size() - 1)]);
    }
  }
  void pass(int client, int server, Cut left) {
    while (!ending_.load()) {
      pollfd both[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (::poll(both, 2, 20) <= 0) continue;
      if (both[0].revents != 0 && !move(client, server, left.from_client)) return;
      if (both[1].revents != 0 && !move(server, client, left.from_server)) return;
    }
  }
  static bool move(int from, int to, std::size_t& left) {
    std::uint8_t buffer[4096];
    const ssize_t got = ::recv(from, buffer, sizeof(buffer), 0);
    if (got <= 0) return false;
    const std::size_t passed = std::min(left, static_cast<std::size_t>(got));
    FakeServer::send(to, buffer, passed);
    left -= passed;
    return left > 0;
  }

  tcp::Address to_;
  std::vector<Cut> cuts_;
  UniqueFd listener_;

 public:
  const std::string address;

 private:
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

/// What the client's side of a handshake takes, and the server's.
std::size_t frame_bytes(std::size_t payload) {
  return wire::frame_header_bytes + payload;
}
const std::size_t client_handshake =
    frame_bytes(wire::encode(auth::Hello{}).size()) + frame_bytes(sizeof(auth::Mac));
const std::size_t server_handshake =
    frame_bytes(wire::encode(auth::Challenge{}).size()) + frame_bytes(sizeof(auth::Mac));

TEST(RpcAtMostOnce, ACutAnywhereInTheCallOrItsReplyExecutesItExactlyOnce) {
  const std::size_t call = frame_bytes(wire::encode(rpc::Reclaim{}).size());
  const std::size_t reply = frame_bytes(0);
  std::vector<CuttingProxy::Cut> cuts;
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, call / 2, call - 1, call}) {
    cuts.push_back({.from_client = client_handshake + at});
  }
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, reply - 1}) {
    cuts.push_back({.from_server = server_handshake + at});
  }
  for (const CuttingProxy::Cut& cut : cuts) {
    CountingReclaims service;
    TestServer server(service);
    CuttingProxy proxy(server.address, {cut, {}});
    tcp::AddressBook book;
    ASSERT_TRUE(book.set(server_machine, proxy.address).ok());
    int lost = 0;
    rpc::Client client(identity(client_machine), book, server_machine,
                       [&](MachineId, const Error&) { ++lost; }, {.pause_ms = 1});
    const Result<void> done = client.reclaim(HandlerId{1}, AuthKey{}, tcp::deadline_in(10'000));
    EXPECT_TRUE(done.ok()) << words(done.code()) << " cut at " << cut.from_client;
    EXPECT_EQ(service.executed.load(), 1);
    EXPECT_LE(lost, 1);
  }
}

TEST(RpcAtMostOnce, AServerThatForgotTheClientDoesNotExecuteARepeatedCall) {
  // The first server executes the call and dies with the reply; another one takes over.
  CountingReclaims first_service;
  CountingReclaims second_service;
  auto first = std::make_unique<TestServer>(first_service);
  CuttingProxy proxy(first->address, {{.from_server = server_handshake + 1}, {}});
  TestServer second(second_service);
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, proxy.address).ok());
  rpc::Client client(
      identity(client_machine), book, server_machine,
      [&](MachineId, const Error&) { ASSERT_TRUE(book.set(server_machine, second.address).ok()); },
      {.pause_ms = 1});
  const Result<void> done = client.reclaim(HandlerId{1}, AuthKey{}, tcp::deadline_in(10'000));
  EXPECT_EQ(done.code(), Errc::connection_lost);
  EXPECT_STREQ(done.error().subject.c_str(), "it is unknown whether the call was executed");
  EXPECT_EQ(first_service.executed.load(), 1);
  EXPECT_EQ(second_service.executed.load(), 0);
  // A later call is a new one, and is executed.
  EXPECT_TRUE(client.reclaim(HandlerId{1}, AuthKey{}, tcp::deadline_in(10'000)).ok());
}

TEST(ReplyCache, AnswersARepeatedCallAndRefusesAnOldOne) {
  rpc::ReplyCache cache;
  cache.greet(1, 0);
  ASSERT_FALSE(cache.begin(1, 0, 5, milliseconds(0))->has_value());
  cache.finish(1, 5, {1, 2, 3});
  const auto again = cache.begin(1, 0, 5, milliseconds(0));
  ASSERT_TRUE(again.ok() && again->has_value());
  EXPECT_EQ(**again, (rpc::ReplyCache::Reply{1, 2, 3}));
  EXPECT_EQ(cache.begin(1, 0, 4, milliseconds(0)).code(), Errc::bad_message);
  EXPECT_FALSE(cache.begin(2, 0, 5, milliseconds(0))->has_value()) << "another client's";
}

TEST(ReplyCache, ARepeatedCallWaitsForItsFirstExecution) {
  rpc::ReplyCache cache;
  ASSERT_TRUE(cache.begin(1, 0, 1, milliseconds(0)).ok());
  EXPECT_EQ(cache.begin(1, 1, 1, milliseconds(10)).code(), Errc::timed_out);
  std::thread executes([&] { cache.finish(1, 1, {7}); });
  const auto reply = cache.begin(1, 1, 1, milliseconds(10'000));
  executes.join();
  ASSERT_TRUE(reply.ok() && reply->has_value());
  EXPECT_EQ(**reply, rpc::ReplyCache::Reply{7});
}

TEST(ReplyCache, IsBoundedAndForgetsTheLongestUnused) {
  rpc::ReplyCache cache(3);
  for (std::uint64_t client = 1; client <= 3; ++client) {
    ASSERT_TRUE(cache.begin(client, 0, 1, milliseconds(0)).ok());
    cache.finish(client, 1, {9});
  }
  cache.greet(1, 1);
  cache.greet(4, 0);
  EXPECT_EQ(cache.clients(), 3u);
  EXPECT_TRUE(cache.begin(1, 1, 1, milliseconds(0))->has_value());
  // Client 2 is forgotten: its repeated call may have been executed, its next one was not.
  EXPECT_EQ(cache.begin(2, 1, 1, milliseconds(0)).code(), Errc::connection_lost);
  EXPECT_FALSE(cache.begin(2, 1, 2, milliseconds(0))->has_value());
}

}  // namespace
}  // namespace mitosis::test
