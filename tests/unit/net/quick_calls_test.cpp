// SPDX-License-Identifier: MIT
// QuickCalls with ways that a test makes up: datagrams first, TCP where they fail, and back again.
#include <gtest/gtest.h>

#include <mitosis/net/rpc/quick_calls.hpp>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::rpc {
namespace {

constexpr MachineId machine{3};

/// How a way answers, and how often it was asked.
struct State {
  Errc answer = Errc::ok;
  Time deadline{};
  std::atomic<int> calls{0};
  std::atomic<int> closed{0};
  std::function<void()> on_read = {};
};

struct Tcp {
  Result<ud::Way> query_way(Time) {
    ++asked;
    if (way_answer != Errc::ok) return Error(way_answer);
    ud::Way way;
    way.queue_pair = 7;
    return way;
  }
  Result<FetchedDescriptor> query_descriptor(HandlerId, const AuthKey&, Time) {
    return Error(Errc::unknown_handler);
  }
  Result<void> fallback_read(const TargetName&, std::uint64_t, MutableBytes into, Time) {
    ++state.calls;
    if (state.answer != Errc::ok) return Error(state.answer);
    into.data()[0] = 't';
    return {};
  }
  Result<std::uint64_t> renew_lease(HandlerId, Generation, Time) { return std::uint64_t{1}; }
  State state;
  Errc way_answer = Errc::ok;
  int asked = 0;
};

class Datagrams final : public DatagramCalls {
 public:
  explicit Datagrams(State& state) : state_(&state) {}
  Result<FetchedDescriptor> query_descriptor(HandlerId, const AuthKey&, Time) override {
    ++state_->calls;
    return Error(state_->answer == Errc::ok ? Errc::unknown_handler : state_->answer);
  }
  Result<void> fallback_read(const TargetName&, std::uint64_t, MutableBytes into,
                             Time deadline) override {
    ++state_->calls;
    state_->deadline = deadline;
    if (state_->on_read) state_->on_read();
    into.data()[0] = 'd';  // perhaps in part: what fails counts for nothing
    if (state_->answer != Errc::ok) return Error(state_->answer);
    return {};
  }
  Result<std::uint64_t> renew_lease(HandlerId, Generation, Time) override {
    return std::uint64_t{2};
  }
  void close() override { ++state_->closed; }

 private:
  State* state_;
};

class QuickCallsTest : public testing::Test {
 protected:
  QuickCalls<Tcp>::Listeners listeners() {
    QuickCalls<Tcp>::Listeners made;
    made.open = [this](MachineId to, const ud::Way& way) -> Result<std::unique_ptr<DatagramCalls>> {
      EXPECT_EQ(to, machine);
      EXPECT_EQ(way.queue_pair, 7u);
      ++opened_;
      return std::unique_ptr<DatagramCalls>(std::make_unique<Datagrams>(datagrams_));
    };
    made.on_change = [this](MachineId, const Error& why) { changes_.push_back(why.code); };
    return made;
  }
  /// Which way a read took: 'd', 't'; 0: it failed with `code_`.
  char read(QuickCalls<Tcp>& calls, std::uint64_t ms = 10'000) {
    std::uint8_t byte = 0;
    const Result<void> done =
        calls.fallback_read({}, 0, MutableBytes(&byte, 1), tcp::deadline_in(ms));
    code_ = done.code();
    return done.ok() ? static_cast<char>(byte) : '\0';
  }

  Tcp tcp_;
  State datagrams_;
  std::vector<Errc> changes_;
  int opened_ = 0;
  Errc code_ = Errc::ok;
};

TEST_F(QuickCallsTest, GoByDatagramsWhereThePeerTakesThem) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  for (int i = 0; i < 5; ++i) EXPECT_EQ(read(calls), 'd');
  EXPECT_EQ(*calls.renew_lease(HandlerId{1}, Generation{}, tcp::deadline_in(1000)), 2u);
  EXPECT_EQ(tcp_.asked, 1);
  EXPECT_EQ(tcp_.state.calls, 0);
  EXPECT_EQ(changes_, std::vector<Errc>{Errc::ok});
}

TEST_F(QuickCallsTest, AWayThatIsBusyWithAnotherCallIsKeptAndTcpTakesThisOne) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  std::promise<void> begun, goes_on;
  datagrams_.on_read = [&] {
    begun.set_value();
    goes_on.get_future().wait();
  };
  std::thread long_call([&] {
    std::uint8_t byte = 0;
    EXPECT_TRUE(calls.fallback_read({}, 0, MutableBytes(&byte, 1), tcp::deadline_in(60'000)).ok());
    EXPECT_EQ(byte, 'd');
  });
  begun.get_future().wait();
  EXPECT_EQ(read(calls), 't');
  goes_on.set_value();
  long_call.join();
  datagrams_.on_read = {};
  EXPECT_EQ(read(calls), 'd');
  EXPECT_EQ(changes_, std::vector<Errc>{Errc::ok});
}

TEST_F(QuickCallsTest, WithoutDatagramsHereAllGoesOverTcpAndNobodyIsAsked) {
  QuickCalls<Tcp> calls(tcp_, machine, {});
  EXPECT_EQ(read(calls), 't');
  EXPECT_EQ(tcp_.asked, 0);
}

TEST_F(QuickCallsTest, APeerWithoutThemIsNotAskedForEachCall) {
  tcp_.way_answer = Errc::transport_unsupported;
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(read(calls), 't');
  EXPECT_EQ(tcp_.asked, 1);
  EXPECT_EQ(opened_, 0);
}

TEST_F(QuickCallsTest, ACallThatFailsOnTheWayIsMadeOverTcpWithinItsDeadline) {
  for (const Errc why : {Errc::connection_lost, Errc::machine_unreachable, Errc::timed_out}) {
    QuickCalls<Tcp> calls(tcp_, machine, listeners());
    EXPECT_EQ(read(calls), 'd');
    datagrams_.answer = why;
    const Time now = tcp::monotonic_now();
    EXPECT_EQ(read(calls), 't');
    EXPECT_LE(datagrams_.deadline, now + 6'000'000'000) << "TCP has the other half";
    EXPECT_EQ(changes_.back(), why);
    datagrams_.answer = Errc::ok;
    EXPECT_EQ(read(calls), 't') << "is left alone for a while";
  }
}

TEST_F(QuickCallsTest, AWayThatKeepsFailingIsLeftAlone) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  datagrams_.answer = Errc::connection_lost;
  for (int i = 0; i < 100; ++i) EXPECT_EQ(read(calls), 't');
  EXPECT_EQ(datagrams_.calls, 1);
  EXPECT_EQ(tcp_.state.calls, 100);
}

TEST_F(QuickCallsTest, AWayThatIsGoodAgainIsTakenAgain) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  datagrams_.answer = Errc::connection_lost;
  EXPECT_EQ(read(calls), 't');
  datagrams_.answer = Errc::ok;
  const Time late = tcp::deadline_in(20'000);
  while (read(calls) != 'd') ASSERT_LT(tcp::monotonic_now(), late);
  EXPECT_EQ(changes_, (std::vector<Errc>{Errc::ok, Errc::connection_lost, Errc::ok}));
}

TEST_F(QuickCallsTest, WhatThePeerAnswersIsTheAnswer) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  for (const Errc answer : {Errc::revoked, Errc::not_permitted, Errc::page_unavailable}) {
    datagrams_.answer = answer;
    EXPECT_EQ(read(calls), '\0');
    EXPECT_EQ(code_, answer);
  }
  EXPECT_EQ(tcp_.state.calls, 0) << "is not asked once more";
  EXPECT_EQ(opened_, 1);
}

TEST_F(QuickCallsTest, WhereBothWaysFailItIsTcpsErrorThatIsTold) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  datagrams_.answer = Errc::timed_out;
  tcp_.state.answer = Errc::machine_unreachable;
  EXPECT_EQ(read(calls), '\0');
  EXPECT_EQ(code_, Errc::machine_unreachable);
}

TEST_F(QuickCallsTest, CloseEndsTheQuickWayForGood) {
  QuickCalls<Tcp> calls(tcp_, machine, listeners());
  EXPECT_EQ(read(calls), 'd');
  calls.close();
  EXPECT_EQ(datagrams_.closed, 1);
  const int before = datagrams_.calls;
  tcp_.state.answer = Errc::shutting_down;
  EXPECT_EQ(read(calls), '\0');
  EXPECT_EQ(code_, Errc::shutting_down);
  EXPECT_EQ(datagrams_.calls, before);
}

}  // namespace
}  // namespace mitosis::rpc
