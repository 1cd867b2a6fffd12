// SPDX-License-Identifier: MIT
// The connection pool's decisions: who dies, goes or misbehaves hurts nobody else.
#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "pool_machines.hpp"

namespace mitosis::pool {
namespace {

TEST_F(Pools, TheEndOfTheOtherSideIsTold) {
  listen();
  const std::uint32_t queue = connect();
  EXPECT_EQ(end_of(client_, request(Op::send, queue, 0, 1)), Errc::ok);
  const Request receive = request(Op::receive, 0, 0, 10, 5);
  EXPECT_EQ(end_of(server_, receive), Errc::ok);
  ask(server_, receive);
  EXPECT_EQ(end_of(client_, request(Op::close, queue, 0, 0)), Errc::ok);
  const Completion end = only(server_);
  EXPECT_EQ(end.status, Errc::connection_lost);
  EXPECT_EQ(end.cookie, 5u);
  EXPECT_EQ(end_of(server_, request(Op::send, 1, 0, 1)), Errc::connection_lost);
  EXPECT_EQ(end_of(server_, request(Op::close, 1, 0, 0)), Errc::ok);
  EXPECT_EQ(a_.board.queues() + b_.board.queues(), 0u);
}

/// Memory that others may be reading stays until they have said that they do not.
TEST_F(Pools, AProcessThatDiesIsReleasedOnceNobodyReadsOfItAnyMore) {
  listen();
  const std::uint32_t queue = connect();
  ask(client_, request(Op::read, queue, 0, 100));
  a_.board.step();
  ASSERT_EQ(a_.transfers.size(), 1u);
  b_.board.detach(9);
  settle();
  EXPECT_TRUE(b_.released.empty()) << "a read is on its way";
  transfer();
  settle();
  EXPECT_EQ(b_.released, std::vector<ProcessId>{9});
  EXPECT_EQ(only(client_).status, Errc::ok);
  EXPECT_EQ(end_of(client_, request(Op::read, queue, 0, 1)), Errc::connection_lost);
  EXPECT_EQ(end_of(client_, request(Op::connect, 0, 0, 0)), Errc::unknown_handler);
}

TEST_F(Pools, AReaderThatDiesIsReleasedOnceNothingLandsInItAnyMore) {
  listen();
  const std::uint32_t queue = connect();
  ask(client_, request(Op::read, queue, 0, 100));
  a_.board.step();
  a_.board.detach(7);
  settle();
  EXPECT_TRUE(a_.released.empty());
  transfer();
  EXPECT_EQ(a_.released, std::vector<ProcessId>{7});
  EXPECT_EQ(a_.board.queues() + a_.board.processes(), 0u);
}

TEST_F(Pools, WhoDiesWhileItsConnectWaitsForAServiceThatGoesIsForgotten) {
  listen();
  const std::uint32_t queue = connect();
  ask(client_, request(Op::read, queue, 0, 100));
  a_.board.step();
  b_.board.detach(9);  // known at the other machine until the read has ended
  settle();
  ask(a_.start(8), request(Op::connect, 0, 0, 0));
  a_.board.step();
  a_.board.detach(8);
  EXPECT_EQ(a_.released, std::vector<ProcessId>{8});
  transfer();
  settle();
  EXPECT_EQ(a_.board.processes(), 1u);
  a_.board.tell_sleeping(true);  // looks at all of them
}

TEST_F(Pools, AProcessHasABoundedNumberOfConnectsThatWait) {
  listen();
  for (std::uint32_t i = 0; i < max_requests; ++i) ask(client_, request(Op::connect, 0, 0, 0));
  while (a_.board.step()) {
  }
  ask(client_, request(Op::connect, 0, 0, 0));
  a_.board.step();
  EXPECT_EQ(only(client_).status, Errc::limit_exceeded);
  settle();
  EXPECT_EQ(ends(client_).size(), max_requests) << "each has its answer";
  EXPECT_NE(connect(), 0u);
}

TEST_F(Pools, AServiceThatIsTakenOverIsConnectedToAnew) {
  listen();
  connect();
  b_.board.detach(9);
  Machine::Process& next = b_.start(10);
  ask(next, request(Op::listen, 0, 0, 10));
  ask(client_, request(Op::connect, 0, 0, 0));  // before the news
  a_.board.step();
  const Completion stale = only(client_);
  settle();
  EXPECT_EQ(end_of(client_, request(Op::send, stale.queue, 0, 1)), Errc::connection_lost);
  connect();
  EXPECT_EQ(b_.released, std::vector<ProcessId>{9});
}

TEST_F(Pools, ALostLinkEndsEverythingOnItWithWords) {
  listen();
  const std::uint32_t queue = connect();
  ask(client_, request(Op::read, queue, 0, 100, 1));
  ask(client_, request(Op::receive, 0, 0, 100, 2));
  Request unknown = request(Op::connect, 0, 0, 0, 3);
  unknown.service = 1000;
  ask(client_, unknown);
  a_.board.step();
  a_.link_up = false;
  a_.board.on_link_lost(MachineId{1});
  std::map<std::uint64_t, Errc> told;
  for (const Completion& end : ends(client_)) told[end.cookie] = end.status;
  EXPECT_EQ(told, (std::map<std::uint64_t, Errc>{{1, Errc::connection_lost},
                                                 {2, Errc::connection_lost},
                                                 {3, Errc::machine_unreachable}}));
  b_.link_up = false;
  b_.board.on_link_lost(MachineId{0});
  b_.board.detach(9);
  EXPECT_EQ(b_.released, std::vector<ProcessId>{9});
  a_.out.clear();
  a_.link_up = b_.link_up = true;  // it is there again
  EXPECT_EQ(end_of(client_, request(Op::connect, 0, 0, 0)), Errc::unknown_handler);
}

TEST_F(Pools, AProcessHasABoundedNumberOfQueuesAndServices) {
  listen();
  for (std::size_t i = 0; i < Switchboard<Machine>::max_queues; ++i) connect();
  EXPECT_EQ(end_of(client_, request(Op::connect, 0, 0, 0)), Errc::limit_exceeded);
  EXPECT_EQ(end_of(server_, request(Op::listen, 0, 0, 0)), Errc::handler_in_use);
  Request more = request(Op::listen, 0, 0, 0);
  for (std::size_t i = 1; i < Switchboard<Machine>::max_services; ++i) {
    more.service = 1000 + i;
    EXPECT_EQ(end_of(server_, more), Errc::ok);
  }
  more.service = 5000;
  EXPECT_EQ(end_of(server_, more), Errc::limit_exceeded);
}

TEST_F(Pools, WhatAPeerMakesUpHarmsNothing) {
  listen();
  const std::uint32_t queue = connect();
  for (std::uint32_t kind = 0; kind < 12; ++kind) {
    for (const std::uint32_t to : {0u, queue, 99u}) {
      Message message;
      message.kind = static_cast<Kind>(kind);
      message.to = to;
      message.from = 5;
      message.service = service;
      message.bytes = ~std::uint64_t{0};
      const auto bytes = encode(message, Bytes(client_.data.data(), 5000));
      for (std::size_t size : {bytes.size(), sizeof message, sizeof message - 1}) {
        a_.board.on_message(MachineId{3}, Bytes(bytes.data(), size));
        b_.board.on_message(MachineId{3}, Bytes(bytes.data(), size));
      }
    }
  }
  a_.out.clear();
  b_.out.clear();
  EXPECT_EQ(end_of(client_, request(Op::read, queue, 0, 1)), Errc::ok) << "of another machine";
}

}  // namespace
}  // namespace mitosis::pool
