// SPDX-License-Identifier: MIT
// Two machines' connection pools in one process, whose links are queues: for the tests of what
// pools decide. World: user.
#pragma once

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

inline constexpr std::uint64_t service = 42;

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

}  // namespace mitosis::pool
