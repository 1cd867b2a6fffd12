// SPDX-License-Identifier: MIT
// Calls over datagrams: whatever the network does, the right reply to each call, executed once, or
// an error in bounded time that says what happened. In virtual time.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>

#include <cstdint>
#include <numeric>
#include <string>

#include "ud_network.hpp"

namespace mitosis::test {
namespace {

using State = ud::ClientSession::State;

/// Bytes that tell where they belong: a piece in a wrong place, or of another call, is seen.
ByteVector pattern(std::size_t size, std::uint64_t seed) {
  sim::Random random(seed);
  ByteVector bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
  return bytes;
}
/// A reply of the wanted size, which depends on the whole request.
ByteVector answer(const ud::ReadyCall& call) {
  const std::uint64_t sum =
      std::accumulate(call.request.begin(), call.request.end(), std::uint64_t{call.call});
  return pattern(call.request.size() * 3 + 1, sum);
}

struct Storm {
  const char* name;
  Weather weather;
};
class UdWeather : public testing::TestWithParam<Storm> {};

TEST_P(UdWeather, EachCallIsAnsweredRightAndExecutedOnce) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    UdNetwork net(seed, GetParam().weather);
    net.execute = answer;
    auto& caller = net.add_caller(1);
    ASSERT_TRUE(net.open(caller)) << describe(caller.session->error());
    for (std::uint64_t number = 1; number <= 40; ++number) {
      // One piece, just one, two, several more than there are credits, none at all; each thrice,
      // so that a late copy of the last call's could be taken for this one's.
      constexpr std::size_t sizes[] = {80, 976, 977, 2056, 20'000, 0};
      const ByteVector request = pattern(sizes[number / 3 % 6], number * 1000 + seed);
      const auto reply = net.call(caller, number, request);
      ASSERT_TRUE(reply) << "call " << number << " seed " << seed << ": "
                         << describe(caller.session->error());
      ASSERT_EQ(*reply, answer({0, number, {}, request})) << "call " << number;
    }
    net.events.run_until(net.events.now() + 1'000'000'000);  // late copies
    for (const auto& [call, times] : net.executed) EXPECT_EQ(times, 1) << "call " << call.second;
    EXPECT_EQ(net.executed.size(), 40u);
  }
}
INSTANTIATE_TEST_SUITE_P(, UdWeather,
                         testing::Values(Storm{"fair", {}}, Storm{"loss", {50'000, 0, 10'000, 0}},
                                         Storm{"heavy_loss", {250'000, 0, 10'000, 0}},
                                         Storm{"copies", {0, 500'000, 10'000, 0}},
                                         Storm{"reordering", {0, 0, 10'000, 200'000}},
                                         Storm{"late_copies",
                                               {10'000, 300'000, 10'000, 40'000'000}},
                                         Storm{"all", {100'000, 200'000, 10'000, 3'000'000}}),
                         [](const auto& info) { return info.param.name; });

TEST(UdSession, NothingIsSentTwiceWhereNothingIsLost) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  EXPECT_EQ(net.sent, 2u);  // open, proof
  ASSERT_TRUE(net.call(caller, 1, pattern(80, 1)));
  EXPECT_EQ(net.sent, 3u);  // a nil call is one packet each way
}

TEST(UdSession, NoMorePiecesAreOnTheirWayThanTheServerHasRoomFor) {
  ud::ServerOptions options;
  options.credits = 4;
  UdNetwork net(1, {0, 0, 1'000'000, 0}, options);
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  net.sent = net.arrived_at_server = 0;
  caller.session->call(1, pattern(60'000, 1), net.events.now());
  net.flush(caller);
  EXPECT_EQ(net.sent, 4u);
  bool replied = false;
  while (!replied && net.events.step()) {
    EXPECT_LE(net.sent - net.arrived_at_server, 5u);  // four pieces and a pull
    replied = caller.session->take_reply().has_value();
  }
  EXPECT_TRUE(replied);
}

TEST(UdSession, ALongReplyComesInWindowsAndALossIsMendedWithoutATimeout) {
  UdNetwork net(3, {10'000, 0, 10'000, 0});
  net.execute = [](const ud::ReadyCall&) { return pattern(4 << 20, 7); };
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  const Time began = net.events.now();
  const auto reply = net.call(caller, 1, pattern(80, 1));
  ASSERT_TRUE(reply);
  EXPECT_TRUE(*reply == pattern(4 << 20, 7));
  // 4300 pieces, 16 a round trip of 20 us: 6 ms. Some forty were lost; a timeout is 1 ms or more.
  EXPECT_LT(static_cast<std::uint64_t>(net.events.now()) - static_cast<std::uint64_t>(began),
            25'000'000u);
}

TEST(UdSession, ACallThatTakesLongIsWaitedForAndAskedAboutEverMoreSeldom) {
  UdNetwork net(1, {100'000, 0, 10'000, 0});
  net.service_time = 60'000'000'000;
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  net.sent = 0;
  ASSERT_TRUE(net.call(caller, 1, pattern(80, 1))) << describe(caller.session->error());
  EXPECT_EQ(net.executed.size(), 1u);
  EXPECT_LT(net.sent, 200u);
}

TEST(UdSession, ACallThatNobodyWaitsForAnyMoreDoesNotDisturbTheNext) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  net.service_time = 5'000'000;
  caller.session->call(1, pattern(80, 1), net.events.now());
  net.flush(caller);
  net.events.run_until(net.events.now() + 1'000'000);
  caller.session->abandon();
  const ByteVector second = pattern(90, 2);
  const auto reply = net.call(caller, 2, second);
  ASSERT_TRUE(reply);
  EXPECT_EQ(*reply, second);
}

TEST(UdSession, APeerThatDoesNotAnswerIsGivenUpInBoundedTime) {
  UdNetwork net(1, {1'000'000, 0, 10'000, 0});
  auto& caller = net.add_caller(1);
  EXPECT_FALSE(net.open(caller));
  EXPECT_EQ(caller.session->error().code, Errc::machine_unreachable);
  EXPECT_LT(net.events.now(), Time{5'000'000'000});
}

TEST(UdSession, APeerThatIsCutOffInMidCallIsLostInBoundedTimeWithWords) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  ASSERT_TRUE(net.call(caller, 1, pattern(80, 1)));
  net.weather.loss = 1'000'000;
  const Time began = net.events.now();
  EXPECT_FALSE(net.call(caller, 2, pattern(5000, 1)));
  EXPECT_EQ(caller.session->error().code, Errc::connection_lost);
  EXPECT_NE(describe(caller.session->error()).find("no answer to 12 packets"), std::string::npos);
  EXPECT_LT(static_cast<std::uint64_t>(net.events.now()) - static_cast<std::uint64_t>(began),
            5'000'000'000u);
}

TEST(UdSession, AServerThatWasRestartedSaysThatItDoesNotKnowTheSession) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  net.restart_server();
  EXPECT_FALSE(net.call(caller, 1, pattern(80, 1)));
  EXPECT_EQ(caller.session->error().code, Errc::connection_lost);
  EXPECT_NE(describe(caller.session->error()).find("does not know this session"),
            std::string::npos);
  EXPECT_EQ(net.sent, 3u);  // at once, not after all tries
}

TEST(UdSession, AServerThatStopsTellsItsCallers) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  net.service_time = 50'000'000'000;
  caller.session->call(1, pattern(80, 1), net.events.now());
  net.flush(caller);
  net.events.run_until(net.events.now() + 100'000);
  net.server->stop();
  net.flush_server();
  net.events.run_until(net.events.now() + 100'000);
  EXPECT_EQ(caller.session->state(), State::ended);
  EXPECT_NE(describe(caller.session->error()).find("has closed the session"), std::string::npos);
}

TEST(UdSession, ClosingIsToldAndEndsWhereNobodyHears) {
  UdNetwork net(1, {});
  auto& polite = net.add_caller(1);
  ASSERT_TRUE(net.open(polite));
  EXPECT_EQ(net.server->sessions(), 1u);
  polite.session->close(net.events.now());
  net.flush(polite);
  net.until([&] { return polite.session->state() == State::ended; });
  EXPECT_EQ(net.server->sessions(), 0u);

  auto& cut_off = net.add_caller(2);
  ASSERT_TRUE(net.open(cut_off));
  net.weather.loss = 1'000'000;
  cut_off.session->close(net.events.now());
  net.flush(cut_off);
  ASSERT_TRUE(net.until([&] { return cut_off.session->state() == State::ended; }, 2'000'000'000));
  EXPECT_EQ(net.server->sessions(), 1u);
  net.server->on_time(net.events.now() + 601'000'000'000);
  EXPECT_EQ(net.server->sessions(), 0u) << "what is not used is forgotten";
}

TEST(UdSession, AClientThatComesAgainReplacesItsLostSession) {
  UdNetwork net(1, {});
  auto& first = net.add_caller(1, {}, "0123456789abcdef", {77, 0});
  auto& again = net.add_caller(1, {}, "0123456789abcdef", {77, 3});
  auto& other = net.add_caller(1, {}, "0123456789abcdef", {78, 0});
  ASSERT_TRUE(net.open(first) && net.open(other) && net.open(again));
  EXPECT_EQ(net.server->sessions(), 2u);
}

TEST(UdSession, WhoDoesNotKnowTheSecretIsRefusedAndTold) {
  UdNetwork net(1, {});
  auto& stranger = net.add_caller(1, {}, "fedcba9876543210");
  EXPECT_FALSE(net.open(stranger));
  EXPECT_EQ(stranger.session->error().code, Errc::authentication_failed);
  ASSERT_EQ(net.server->take_refusals().size(), 1u);
  EXPECT_EQ(net.server->sessions() + net.server->strangers(), 0u);
  // Nor is a server trusted that is another machine than the one that was meant.
  auto& misled = net.add_caller(1, {}, "0123456789abcdef", {}, MachineId{5});
  EXPECT_FALSE(net.open(misled));
  EXPECT_EQ(misled.session->error().code, Errc::authentication_failed);
}

TEST(UdSession, StrangersAndSessionsAreBounded) {
  ud::ServerOptions options;
  options.max_sessions = 3;
  options.max_strangers = 4;
  UdNetwork net(1, {}, options);
  for (int i = 0; i < 100; ++i) {  // they never prove anything
    auto& caller = net.add_caller(1);
    caller.session->open(net.events.now());
    for (const ByteVector& bytes : caller.session->take_output()) {
      net.server->on_datagram(caller.way, Bytes(bytes.data(), bytes.size()), net.events.now());
    }
  }
  EXPECT_EQ(net.server->strangers(), 4u);
  static_cast<void>(net.server->take_output());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(net.open(net.add_caller(2)));
  auto& one_more = net.add_caller(2);
  EXPECT_FALSE(net.open(one_more));
  EXPECT_EQ(one_more.session->error().code, Errc::limit_exceeded);
  net.events.run_until(net.events.now() + 100'000'000'000);  // the others have not called since
  EXPECT_TRUE(net.open(net.add_caller(2)));
}

TEST(UdSession, ARequestThatIsTooLongIsRefusedWithWordsAndTheSessionGoesOn) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  const auto reply = net.call(caller, 1, pattern(100'000, 1));
  ASSERT_TRUE(reply);
  const auto error =
      wire::decode<ErrorReply>(Bytes(reply->data(), reply->size()).sub(wire::frame_header_bytes));
  ASSERT_TRUE(error.ok());
  EXPECT_EQ(error->error.code, Errc::limit_exceeded);
  EXPECT_TRUE(net.executed.empty());
  EXPECT_TRUE(net.call(caller, 2, pattern(80, 1)));
}

TEST(UdSession, SidesWithDifferentMtusUseTheSmaller) {
  ud::ServerOptions server;
  server.datagram_bytes = 4096;
  UdNetwork net(1, {}, server);
  net.execute = answer;
  ud::ClientOptions small;
  small.datagram_bytes = 512;
  auto& caller = net.add_caller(1, small);
  ASSERT_TRUE(net.open(caller));
  const ByteVector request = pattern(3000, 5);
  const auto reply = net.call(caller, 1, request);
  ASSERT_TRUE(reply);
  EXPECT_EQ(*reply, answer({0, 1, {}, request}));
}

/// Whoever can send packets, but has not the session's key, changes nothing.
TEST(UdSession, PacketsThatAreChangedOrMadeUpAreDropped) {
  UdNetwork net(1, {});
  auto& caller = net.add_caller(1);
  ASSERT_TRUE(net.open(caller));
  caller.session->call(1, pattern(300, 1), net.events.now());
  ByteVector packet = caller.session->take_output().at(0);
  for (std::size_t bit = 0; bit < packet.size() * 8; ++bit) {
    packet[bit / 8] = static_cast<std::uint8_t>(packet[bit / 8] ^ (1u << (bit % 8)));
    net.server->on_datagram(caller.way, Bytes(packet.data(), packet.size()), net.events.now());
    packet[bit / 8] = static_cast<std::uint8_t>(packet[bit / 8] ^ (1u << (bit % 8)));
  }
  EXPECT_TRUE(net.server->take_calls().empty());
  net.server->on_datagram(ud::Way{{}, 99, 0}, Bytes(packet.data(), packet.size()),
                          net.events.now());
  EXPECT_TRUE(net.server->take_calls().empty()) << "from another queue pair";
  net.server->on_datagram(caller.way, Bytes(packet.data(), packet.size()), net.events.now());
  EXPECT_EQ(net.server->take_calls().size(), 1u);
  net.server->on_datagram(caller.way, Bytes(packet.data(), packet.size()), net.events.now());
  EXPECT_TRUE(net.server->take_calls().empty()) << "a copy";
}

}  // namespace
}  // namespace mitosis::test
