// SPDX-License-Identifier: MIT
// A VerbsFabric<DCT> on devices of memory, and what it reads from, for tests. World: user.
#pragma once

#include <gtest/gtest.h>

#include <mitosis/net/sim/awkward.hpp>
#include <mitosis/net/verbs/dct/dct_reads.hpp>
#include <mitosis/net/verbs/dct/parent_doors.hpp>
#include <mitosis/net/verbs/fabric.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "dct_machines.hpp"

namespace mitosis::verbs {

inline constexpr std::uint64_t base = 0x10000;  // where the parents have their memory
inline constexpr std::uint32_t pages = 8;
inline constexpr std::uint64_t no_deadline_ms = 60'000;

/// A machine with one parent of eight pages, the last four of which are an area of their own.
struct Owner : DctMachine {
  Owner(MemoryDevices& all, std::uint32_t machine)
      : DctMachine(all, machine, pages),
        doors(device, port_of(machine), 4),
        parent(&doors, {{page_of(base + 4 * page), 4}}) {
    EXPECT_TRUE(parent.open().ok());
  }
  /// Nothing once it is reclaimed.
  [[nodiscard]] std::optional<rpc::PiecesReply> tell() const {
    if (parent.told().empty()) return std::nullopt;
    rpc::PiecesReply reply;
    reply.complete = true;
    reply.doors = parent.told();
    parent.split(base, std::uint64_t{pages} * page,
                 [&](std::uint64_t start, std::uint64_t bytes, std::uint32_t door) {
                   reply.pieces.push_back({start, bytes, start - base, remote_key, door});
                   return true;
                 });
    return reply;
  }
  DcDoors<MemoryDevice> doors;
  ParentDoors parent;
};

/// What owners tell; errands ask it from their threads.
class Control final : public ControlPath {
 public:
  Result<rpc::QueuePairEnd> connect(MachineId, const rpc::ConnectQueuePair&, Time) override {
    return Error(Errc::transport_unsupported);
  }
  Result<rpc::ConnectionPlace> place(MachineId, const rpc::ExpectConnection&, Time) override {
    return Error(Errc::transport_unsupported);
  }
  Result<rpc::PiecesReply> pieces(MachineId peer, const TargetName&, Time) override {
    const std::lock_guard lock(mutex_);
    ++asked_;
    const std::optional<rpc::PiecesReply>& told = told_.at(peer);
    if (!told) return Error(Errc::revoked);
    return rpc::PiecesReply(*told);
  }
  void tell(MachineId peer, const std::optional<rpc::PiecesReply>& what) {
    const std::lock_guard lock(mutex_);
    told_.insert_or_assign(peer, what);
  }
  int asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  std::mutex mutex_;
  std::map<MachineId, std::optional<rpc::PiecesReply>> told_;
  int asked_ = 0;
};

class DctFabric : public testing::Test {
 protected:
  using Verbs = VerbsFabric<DCT, sim::AnsweringFabric, DctReads<MemoryDevice>>;
  DctFabric() : device_(all_, port_of(0)) {
    FabricOptions options;
    options.ask_again_ms = 0;
    options.on_loss = [this](const Error&) { ++losses_; };
    fabric_ = std::move(Verbs::open(device_, control_,
                                    std::make_unique<sim::AnsweringFabric>(second_says_), options))
                  .value();
  }
  Owner& owner(std::uint32_t machine) {
    std::unique_ptr<Owner>& made = owners_[machine];
    if (made == nullptr) {
      made = std::make_unique<Owner>(all_, machine);
      control_.tell(MachineId{machine}, made->tell());
    }
    return *made;
  }
  ReadRequest request(std::uint32_t machine, std::uint64_t cookie, std::uint64_t at,
                      std::uint32_t bytes = page, std::uint64_t ms = no_deadline_ms) {
    owner(machine);
    memory_[cookie].assign(bytes, 0);
    ReadRequest request;
    request.peer = MachineId{machine};
    request.target = {77, 5};
    request.remote_address = base + at;
    request.bytes = bytes;
    request.into = {memory_[cookie].data(), 1};
    request.cookie = cookie;
    request.deadline = tcp::deadline_in(ms);
    return request;
  }
  void post(const ReadRequest& request) { fabric_->post(Span<const ReadRequest>(&request, 1)); }
  /// Polls once, at that time; how many ended.
  std::size_t poll(Time now = tcp::monotonic_now()) {
    ReadCompletion done[16];
    const std::size_t count = fabric_->poll(Span<ReadCompletion>(done), now);
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_TRUE(ended_.emplace(done[i].cookie, done[i].status).second) << "ended twice";
    }
    return count;
  }
  /// The end of a read, which must come.
  Errc end_of(std::uint64_t cookie) {
    const Time late = tcp::deadline_in(10'000);
    while (!ended_.contains(cookie) && tcp::monotonic_now() < late) poll();
    return ended_.contains(cookie) ? ended_[cookie] : Errc::timed_out;
  }
  /// Until the machine's answer has been taken in: a first read goes the second way, and asks.
  void learn(std::uint32_t machine) {
    const Time late = tcp::deadline_in(10'000);
    const std::uint64_t before = fabric_->counts().rdma;
    while (fabric_->counts().rdma == before && tcp::monotonic_now() < late) {
      const std::uint64_t cookie = 1'000'000 + ++learning_;
      post(request(machine, cookie, 0));
      end_of(cookie);
    }
    ASSERT_GT(fabric_->counts().rdma, before);
  }
  bool right(std::uint32_t machine, std::uint64_t cookie, std::uint64_t at) {
    for (std::size_t i = 0; i < memory_[cookie].size(); ++i) {
      if (memory_[cookie][i] != owners_[machine]->byte(at + i)) return false;
    }
    return true;
  }
  bool untouched(std::uint64_t cookie) {
    return memory_[cookie] == std::vector<std::uint8_t>(memory_[cookie].size(), 0);
  }

  MemoryDevices all_;
  MemoryDevice device_;
  Control control_;
  std::map<std::uint32_t, std::unique_ptr<Owner>> owners_;
  std::map<std::uint64_t, std::vector<std::uint8_t>> memory_;
  std::map<std::uint64_t, Errc> ended_;
  std::uint64_t learning_ = 0;
  int losses_ = 0;
  Errc second_says_ = Errc::ok;
  std::unique_ptr<Verbs> fabric_;
};

}  // namespace mitosis::verbs
