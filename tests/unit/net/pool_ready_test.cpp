// SPDX-License-Identifier: MIT
// How two pools bring a link up: neither sends before the other end is raised, and what goes wrong
// at one is told to the other, or noticed by it in time.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/verbs/make_ready.hpp>

#include <atomic>
#include <cstdint>
#include <thread>

namespace mitosis::verbs {
namespace {

/// An end of a link that remembers the other's.
struct End {
  explicit End(std::uint32_t number) { own.number = number; }
  [[nodiscard]] rpc::QueuePairEnd end() const { return own; }
  Result<void> raise(const rpc::QueuePairEnd& other) {
    if (failure != Errc::ok) return Error(failure);
    raised.store(other.number);
    return {};
  }
  rpc::QueuePairEnd own;
  Errc failure = Errc::ok;
  std::atomic<std::uint32_t> raised{0};
};

class MakeReady : public testing::Test {
 protected:
  MakeReady() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    called_.reset(ends[0]);
    calls_.reset(ends[1]);
  }
  static Result<void> ready(const UniqueFd& fd, End& end, bool first, std::uint64_t ms = 60'000) {
    tcp::FrameStream stream(fd.get());
    return make_ready(stream, end, first, tcp::deadline_in(ms));
  }
  UniqueFd called_, calls_;
  End a_{5}, b_{6};
};

TEST_F(MakeReady, RaisesBothBeforeEitherSends) {
  Result<void> other;
  std::thread thread([&] {
    other = ready(called_, b_, false);
    EXPECT_EQ(a_.raised.load(), 6u);
  });
  EXPECT_TRUE(ready(calls_, a_, true).ok());
  EXPECT_EQ(b_.raised.load(), 5u);
  thread.join();
  EXPECT_TRUE(other.ok());
}

TEST_F(MakeReady, WhatTheOtherRefusesIsItsError) {
  tcp::FrameStream stream(called_.get());
  ASSERT_TRUE(
      stream
          .send(wire::make_frame(ErrorReply{Error(Errc::address_in_use)}), tcp::deadline_in(60'000))
          .ok());
  EXPECT_EQ(ready(calls_, a_, true).code(), Errc::address_in_use);
  EXPECT_EQ(a_.raised.load(), 0u);
}

TEST_F(MakeReady, AnEndThatCannotBeRaisedIsNotToldToBeReady) {
  a_.failure = Errc::bad_message;
  Result<void> other;
  std::thread thread([&] { other = ready(called_, b_, false); });
  EXPECT_EQ(ready(calls_, a_, true).code(), Errc::bad_message);
  calls_.reset();
  thread.join();
  EXPECT_EQ(other.code(), Errc::connection_lost);
}

TEST_F(MakeReady, AnswersThatAreNoneAreRefused) {
  tcp::FrameStream stream(called_.get());
  ASSERT_TRUE(stream.send(wire::make_frame(LinkReady{}), tcp::deadline_in(60'000)).ok());
  EXPECT_EQ(ready(calls_, a_, true).code(), Errc::bad_message);
}

TEST_F(MakeReady, SilenceIsNotWaitedForLongerThanTheDeadline) {
  EXPECT_EQ(ready(calls_, a_, true, 50).code(), Errc::timed_out);
  EXPECT_EQ(ready(called_, b_, false, 50).code(), Errc::timed_out);  // it has the end, not the word
  EXPECT_EQ(b_.raised.load(), 5u);
}

}  // namespace
}  // namespace mitosis::verbs
