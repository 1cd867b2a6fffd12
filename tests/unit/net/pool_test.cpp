// SPDX-License-Identifier: MIT
// The connection pool's decisions, of two machines in one process: what is sent arrives, nobody
// touches what is not exposed, and who dies or misbehaves hurts nobody else.
#include <gtest/gtest.h>

#include <mitosis/net/pool/switchboard.hpp>

#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace mitosis::pool {
namespace {

constexpr std::uint64_t service = 42;

/// A machine's pool whose links are queues of messages; transfers are done when the test says so.
class Machine {
 public:
  explicit Machine(std::uint32_t id) : id(id), board(*this) {}

  struct Process {
    std::unique_ptr<Area> area = std::make_unique<Area>();
    std::vector<std::uint8_t> data = std::vector<std::uint8_t>(1 << 16);
  };
  Process& start(ProcessId process) {
    Process& made = processes[process];
    board.attach(process, *made.area, MutableBytes(made.data.data(), made.data.size()));
    return made;
  }

  // -- Links --
  [[nodiscard]] bool up(MachineId) const { return link_up; }
  void send(MachineId, std::vector<std::uint8_t> bytes) { out.push_back(std::move(bytes)); }
  void transfer(MachineId, const Transfer& t) { transfers.push_back(t); }
  [[nodiscard]] Region region(ProcessId process) const {
    return {std::uint64_t{process} << 32, processes.at(process).data.size(), process};
  }
  void release(ProcessId process) { released.push_back(process); }

  std::uint32_t id;
  bool link_up = true;
  std::deque<std::vector<std::uint8_t>> out;
  std::deque<Transfer> transfers;
  std::map<ProcessId, Process> processes;
  std::vector<ProcessId> released;
  Switchboard<Machine> board;
};

class Pools : public testing::Test {
 protected:
  Pools() : a_(0), b_(1), client_(a_.start(7)), server_(b_.start(9)) {}

  void pass(Machine& from, Machine& to) {
    while (!from.out.empty()) {
      const auto bytes = from.out.front();
      from.out.pop_front();
      to.board.on_message(MachineId{from.id}, Bytes(bytes.data(), bytes.size()));
    }
  }
  /// Until nobody has anything to say.
  void settle() {
    do {
      a_.board.step();
      b_.board.step();
      pass(a_, b_);
      pass(b_, a_);
    } while (!a_.out.empty() || !b_.out.empty() || !a_.board.idle() || !b_.board.idle());
  }
  /// What the other machine's memory and this one's do in a transfer.
  void transfer() {
    while (!a_.transfers.empty()) {
      const Transfer t = a_.transfers.front();
      a_.transfers.pop_front();
      const ProcessId owner = t.remote_key;
      ASSERT_EQ(t.remote_address >> 32, owner);
      auto& theirs = b_.processes.at(owner).data;
      const std::uint64_t at = t.remote_address & 0xffffffff;
      ASSERT_LE(at + t.bytes, theirs.size());
      auto& ours = a_.processes.at(t.process).data;
      std::memcpy(t.write ? theirs.data() + at : ours.data() + t.offset,
                  t.write ? ours.data() + t.offset : theirs.data() + at, t.bytes);
      a_.board.on_transferred(t.tag, Errc::ok);
    }
  }
  static void ask(Machine::Process& process, const Request& request) {
    ASSERT_TRUE(process.area->requests.push(request));
  }
  static std::vector<Completion> ends(Machine::Process& process) {
    std::vector<Completion> all;
    Completion one;
    while (process.area->completions.pop(one)) all.push_back(one);
    return all;
  }
  Completion only(Machine::Process& process) {
    const auto all = ends(process);
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? Completion{99, Errc::timed_out} : all[0];
  }
  static Request request(Op op, std::uint32_t queue, std::uint64_t offset, std::uint32_t bytes,
                         std::uint64_t cookie = 1) {
    Request request;
    request.op = op;
    request.queue = queue;
    request.offset = offset;
    request.bytes = bytes;
    request.cookie = cookie;
    request.service = service;
    request.machine = 1;
    return request;
  }
  void listen(std::uint64_t offset = 4096, std::uint32_t bytes = 8192) {
    ask(server_, request(Op::listen, 0, offset, bytes));
    settle();
    EXPECT_EQ(only(server_).status, Errc::ok);
  }
  std::uint32_t connect() {
    ask(client_, request(Op::connect, 0, 0, 0));
    settle();
    const Completion end = only(client_);
    EXPECT_EQ(end.status, Errc::ok);
    return end.queue;
  }
  Errc end_of(Machine::Process& process, const Request& wanted) {
    ask(process, wanted);
    settle();
    transfer();
    return only(process).status;
  }

  Machine a_, b_;
  Machine::Process &client_, &server_;
};

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
