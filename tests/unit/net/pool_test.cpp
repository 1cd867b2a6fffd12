// SPDX-License-Identifier: MIT
// The connection pool's decisions: what is asked for is done, and nobody touches what is not
// exposed.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "pool_machines.hpp"

namespace mitosis::pool {
namespace {

TEST_F(Pools, OnlyTheFirstConnectToAServiceAsksItsMachine) {
  listen();
  connect();
  ask(client_, request(Op::connect, 0, 0, 0));
  a_.board.step();
  EXPECT_TRUE(a_.out.empty());
  const Completion end = only(client_);
  EXPECT_EQ(end.status, Errc::ok);
  EXPECT_EQ(end.bytes, 8192u);
}

TEST_F(Pools, AServiceThatIsNotThereIsRefusedAndFoundOnceItIs) {
  EXPECT_EQ(end_of(client_, request(Op::connect, 0, 0, 0)), Errc::unknown_handler);
  listen();
  connect();
  a_.link_up = false;
  EXPECT_EQ(end_of(client_, request(Op::connect, 0, 0, 0)), Errc::machine_unreachable);
}

TEST_F(Pools, WhatIsExposedIsReadAndWrittenAndNothingBeside) {
  listen(4096, 8192);
  const std::uint32_t queue = connect();
  server_.data[4096 + 100] = 77;
  Request read = request(Op::read, queue, 500, 1);
  read.remote = 100;
  EXPECT_EQ(end_of(client_, read), Errc::ok);
  EXPECT_EQ(client_.data[500], 77);
  client_.data[600] = 88;
  Request write = request(Op::write, queue, 600, 1);
  write.remote = 8191;
  EXPECT_EQ(end_of(client_, write), Errc::ok);
  EXPECT_EQ(server_.data[4096 + 8191], 88);

  for (const auto& [remote, bytes, offset] :
       std::vector<std::tuple<std::uint64_t, std::uint32_t, std::uint64_t>>{
           {8192, 1, 0},
           {8191, 2, 0},
           {~std::uint64_t{0}, 1, 0},
           {0, 8193, 0},
           {0, 0, 0},
           {0, 1, 1 << 16},
           {0, 2, (1 << 16) - 1},
           {0, 1, ~std::uint64_t{0}}}) {
    Request wrong = request(Op::read, queue, offset, bytes);
    wrong.remote = remote;
    EXPECT_EQ(end_of(client_, wrong), Errc::invalid_argument) << remote << " " << bytes;
  }
  EXPECT_EQ(end_of(client_, request(Op::read, queue + 1, 0, 1)), Errc::invalid_argument);
  EXPECT_EQ(end_of(client_, request(static_cast<Op>(99), queue, 0, 1)), Errc::invalid_argument);
}

TEST_F(Pools, AnotherProcessQueueIsNotOnesOwn) {
  listen();
  const std::uint32_t queue = connect();
  Machine::Process& stranger = a_.start(8);
  EXPECT_EQ(end_of(stranger, request(Op::read, queue, 0, 1)), Errc::invalid_argument);
  EXPECT_EQ(end_of(stranger, request(Op::close, queue, 0, 0)), Errc::invalid_argument);
}

TEST_F(Pools, MessagesGoBothWaysInOrderAndWaitForReceivesInBounds) {
  listen();
  const std::uint32_t queue = connect();
  for (std::uint64_t i = 0; i < 40; ++i) {
    client_.data[i] = static_cast<std::uint8_t>(i);
    ask(client_, request(Op::send, queue, i, 1, 100 + i));
  }
  settle();
  EXPECT_EQ(ends(client_).size(), 16u) << "no more than the server has room for";
  std::vector<std::uint8_t> got;
  std::uint32_t answer_on = 0;
  for (std::uint64_t i = 0; i < 40; ++i) {
    ask(server_, request(Op::receive, 0, 1000, 4096, i));
    settle();
    const Completion end = only(server_);
    EXPECT_EQ(end.status, Errc::ok);
    EXPECT_EQ(end.bytes, 1u);
    got.push_back(server_.data[1000]);
    answer_on = end.queue;
  }
  for (std::uint64_t i = 0; i < 40; ++i) EXPECT_EQ(got[i], i);
  EXPECT_EQ(ends(client_).size(), 24u);

  server_.data[5] = 55;
  EXPECT_EQ(end_of(server_, request(Op::send, answer_on, 5, 1)), Errc::ok);
  EXPECT_EQ(end_of(client_, request(Op::receive, 0, 3000, 1)), Errc::ok);
  EXPECT_EQ(client_.data[3000], 55);
  EXPECT_EQ(b_.board.queues(), 1u);
}

TEST_F(Pools, AMessageThatIsTooLongIsRefusedOrToldOf) {
  listen();
  const std::uint32_t queue = connect();
  EXPECT_EQ(end_of(client_, request(Op::send, queue, 0, max_message + 1)), Errc::limit_exceeded);
  EXPECT_EQ(end_of(client_, request(Op::send, queue, 0, 100)), Errc::ok);
  EXPECT_EQ(end_of(server_, request(Op::receive, 0, 0, 99)), Errc::limit_exceeded);
}

}  // namespace
}  // namespace mitosis::pool
