// SPDX-License-Identifier: MIT
// rpc::Client against the server: every call, at most once, errors with their context, in time.
#include <gtest/gtest.h>

#include <mitosis/net/rpc/client.hpp>
#include <mitosis/net/rpc/peer_monitor.hpp>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "fake_server.hpp"
#include "test_server.hpp"

namespace mitosis::test {
namespace {

constexpr HandlerId handler{73};

/// Counts what is executed.
class CountingService : public NoService {
 public:
  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller& caller, HandlerId id,
                                                const AuthKey& key) override {
    last_machine = caller.machine;
    if (id != handler) return Errc::unknown_handler;
    if (!(key == AuthKey{{1}})) return Error(Errc::wrong_key).in("open the handler");
    return rpc::DescriptorLease{descriptor, Generation{9}, 5000};
  }
  Result<void> fallback_read(const rpc::Caller&, const TargetName&, std::uint64_t address,
                             MutableBytes into) override {
    if (hold != nullptr) hold->wait();
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = byte_at(address + i);
    return {};
  }
  Result<void> reclaim(const rpc::Caller&, HandlerId id, const AuthKey&) override {
    if (hold != nullptr) hold->wait();
    if (reclaims.fetch_add(1) > 0) return Error(Errc::unknown_handler).of_handler(id);
    return {};
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller&, HandlerId, Generation g) override {
    if (g != Generation{9}) return Errc::lease_expired;
    return std::uint64_t{7000};
  }
  std::shared_ptr<std::vector<std::uint8_t>> descriptor =
      std::make_shared<std::vector<std::uint8_t>>(100);
  std::atomic<int> reclaims{0};
  std::atomic<MachineId> last_machine{MachineId::none};
  Signal* hold = nullptr;
};

class Rpc : public ::testing::Test {
 protected:
  Signal hold;  ///< before the server, whose threads may wait for it
  CountingService service;
  TestServer server{service};
  tcp::AddressBook book;
  void SetUp() override { ASSERT_TRUE(book.set(server_machine, server.address).ok()); }
  void TearDown() override { hold.set(); }
  static Time soon() { return tcp::deadline_in(10'000); }
};

TEST_F(Rpc, EveryCallReachesTheService) {
  rpc::Client client(identity(client_machine), book, server_machine);
  EXPECT_TRUE(client.ping(soon()).ok());
  const Result<rpc::FetchedDescriptor> d = client.query_descriptor(handler, AuthKey{{1}}, soon());
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(d->bytes, *service.descriptor);
  EXPECT_EQ(d->generation, Generation{9});
  EXPECT_EQ(d->lease_ms, 5000u);
  EXPECT_EQ(service.last_machine.load(), client_machine);
  std::vector<std::uint8_t> page(rpc::max_fallback_read);
  ASSERT_TRUE(client.fallback_read(good_target, 0x1000, page, soon()).ok());
  for (std::size_t i = 0; i < page.size(); ++i) ASSERT_EQ(page[i], byte_at(0x1000 + i));
  const Result<std::uint64_t> lease = client.renew_lease(handler, Generation{9}, soon());
  ASSERT_TRUE(lease.ok());
  EXPECT_EQ(*lease, 7000u);
  EXPECT_TRUE(client.reclaim(handler, AuthKey{}, soon()).ok());
  EXPECT_EQ(service.reclaims.load(), 1);
}

TEST_F(Rpc, ErrorsComeBackWithTheirContextAndTheSessionGoesOn) {
  rpc::Client client(identity(client_machine), book, server_machine);
  const auto wrong = client.query_descriptor(handler, AuthKey{}, soon());
  ASSERT_EQ(wrong.code(), Errc::wrong_key);
  EXPECT_EQ(wrong.error().machine, server_machine);
  EXPECT_EQ(wrong.error().handler, 73u);
  EXPECT_STREQ(wrong.error().step.c_str(), "open the handler");
  EXPECT_EQ(client.query_descriptor(HandlerId{1}, AuthKey{}, soon()).code(), Errc::unknown_handler);
  EXPECT_EQ(client.renew_lease(handler, Generation{8}, soon()).code(), Errc::lease_expired);
  EXPECT_EQ(server.server->connections(), 1u);
}

TEST_F(Rpc, DescriptorsOfManyPartsArriveWhole) {
  rpc::Client client(identity(client_machine), book, server_machine);
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{rpc::max_part},
                                  std::size_t{rpc::max_part} + 1, std::size_t{5'000'000}}) {
    service.descriptor = std::make_shared<std::vector<std::uint8_t>>(bytes);
    for (std::size_t i = 0; i < bytes; ++i) (*service.descriptor)[i] = byte_at(i);
    const auto d = client.query_descriptor(handler, AuthKey{{1}}, soon());
    ASSERT_TRUE(d.ok()) << words(d.code()) << ": " << d.error().subject.c_str();
    EXPECT_TRUE(d->bytes == *service.descriptor);
  }
}

TEST_F(Rpc, OneClientServesManyThreads) {
  rpc::Client client(identity(client_machine), book, server_machine);
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint64_t i = 0; i < 50; ++i) {
        const std::uint64_t address = static_cast<std::uint64_t>(t) * 1000 + i;
        std::uint8_t byte = 0;
        const bool ok =
            client.fallback_read(good_target, address, MutableBytes(&byte, 1), soon()).ok();
        if (!ok || byte != byte_at(address)) ++failures;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures.load(), 0);
}

TEST_F(Rpc, ASlowCallTimesOutAtItsDeadlineAndSoDoWhoWaitBehindIt) {
  service.hold = &hold;
  rpc::Client client(identity(client_machine), book, server_machine);
  std::uint8_t byte = 0;
  Errc behind = Errc::ok;
  const Time began = tcp::monotonic_now();
  std::thread other([&] { behind = client.ping(tcp::deadline_in(100)).code(); });
  const Errc slow =
      client.fallback_read(good_target, 0, MutableBytes(&byte, 1), tcp::deadline_in(300)).code();
  other.join();
  EXPECT_EQ(slow, Errc::timed_out);
  EXPECT_TRUE(behind == Errc::timed_out || behind == Errc::ok);  // ok: it was the first
  EXPECT_LT(tcp::monotonic_now(), began + 5000 * tcp::nanoseconds_per_ms);
  hold.set();
  EXPECT_TRUE(client.ping(soon()).ok());
}

TEST_F(Rpc, CloseEndsACallInProgress) {
  service.hold = &hold;
  rpc::Client client(identity(client_machine), book, server_machine);
  ASSERT_TRUE(client.ping(soon()).ok());
  Errc status = Errc::ok;
  std::thread caller([&] {
    std::uint8_t byte = 0;
    status = client.fallback_read(good_target, 0, MutableBytes(&byte, 1), soon()).code();
  });
  client.close();
  caller.join();
  EXPECT_EQ(status, Errc::shutting_down);
  EXPECT_EQ(client.ping(soon()).code(), Errc::shutting_down);
}

TEST_F(Rpc, UnknownAbsentAndUntrustedMachinesAreToldApart) {
  rpc::Client unknown(identity(client_machine), book, MachineId{50});
  EXPECT_EQ(unknown.ping(soon()).code(), Errc::machine_unknown);
  rpc::Client untrusted(identity(client_machine, "not the secret !!"), book, server_machine);
  EXPECT_EQ(untrusted.ping(soon()).code(), Errc::authentication_failed);
  server.server->stop();
  rpc::Client absent(identity(client_machine), book, server_machine);
  const Result<void> gone = absent.ping(soon());
  EXPECT_EQ(gone.code(), Errc::machine_unreachable);
  EXPECT_EQ(gone.error().machine, server_machine);
}

TEST_F(Rpc, DiscoverTellsWhoListens) {
  const auto who = rpc::discover(identity(client_machine), *tcp::resolve(server.address), soon());
  ASSERT_TRUE(who.ok());
  EXPECT_EQ(*who, server_machine);
  EXPECT_EQ(rpc::discover(identity(client_machine, "not the secret !!"),
                          *tcp::resolve(server.address), soon())
                .code(),
            Errc::authentication_failed);
}

TEST_F(Rpc, ALostPeerIsReportedWithoutACall) {
  Signal reported;
  Errc why = Errc::ok;
  rpc::Client client(identity(client_machine), book, server_machine,
                     [&](MachineId machine, const Error& error) {
                       EXPECT_EQ(machine, server_machine);
                       why = error.code;
                       reported.set();
                     },
                     {});
  ASSERT_TRUE(client.ping(soon()).ok());
  auto monitor = rpc::PeerMonitor::start(client, {.interval_ms = 60'000});
  ASSERT_TRUE(monitor.ok());
  server.server->stop();
  ASSERT_TRUE(reported.wait());
  EXPECT_EQ(why, Errc::connection_lost);
  EXPECT_FALSE(client.connected());
}

TEST(RpcSilence, APeerThatStopsAnsweringIsReported) {
  FakeServer server([](int fd, int) { FakeServer::wait_for_close(fd); });
  tcp::AddressBook book;
  ASSERT_TRUE(book.set(server_machine, server.address).ok());
  Signal reported;
  rpc::Client client(identity(client_machine), book, server_machine,
                     [&](MachineId, const Error&) { reported.set(); }, {});
  auto monitor = rpc::PeerMonitor::start(client, {.interval_ms = 20, .patience_ms = 50});
  ASSERT_TRUE(monitor.ok());
  EXPECT_TRUE(reported.wait());
}

}  // namespace
}  // namespace mitosis::test
