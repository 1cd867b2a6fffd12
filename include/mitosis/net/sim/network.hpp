// SPDX-License-Identifier: MIT
// Network: machines, their NICs and links, and what they let others read. World: sim.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/sim/event_queue.hpp>
#include <mitosis/net/sim/model.hpp>
#include <mitosis/net/sim/random.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// What a machine reads for others: `address` of the target, all of `into`, or why not.
using ReadHandler = std::function<Errc(TargetName, std::uint64_t address, MutableBytes into)>;

/// Every machine is linked to every other one through a switch that never congests; a NIC sends
/// and receives at its own rate, one message after the other. One thread.
class Network {
 public:
  Network(EventQueue& events, const Model& model, std::uint64_t seed)
      : events_(events), model_(model), random_(seed) {}
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  /// A machine that is up, or comes up again: connections to its former life are gone.
  void start(MachineId machine, ReadHandler reader) {
    Machine& m = machines_[machine];
    m.reader = std::move(reader);
    m.up = true;
    ++m.life;
  }
  void crash(MachineId machine) { machines_[machine].up = false; }
  [[nodiscard]] bool up(MachineId machine) const {
    const auto found = machines_.find(machine);
    return found != machines_.end() && found->second.up;
  }
  /// Which life of the machine this is; what was sent to an earlier one is lost.
  [[nodiscard]] std::uint64_t life(MachineId machine) { return machines_[machine].life; }

  /// When a message of so many bytes, handed over at `start`, has arrived; takes the sender's link.
  Time send(MachineId from, MachineId to, std::uint64_t bytes, Time start) {
    const std::uint64_t wire = bytes * 1'000 / model_.costs.bytes_per_us;
    Time& out = machines_[from].out_free;
    Time& in = machines_[to].in_free;
    const Time departs = std::max(out, start + model_.costs.nic);
    out = departs + wire;
    const Time arrives = std::max(in, departs + model_.costs.latency) + wire;
    in = arrives;
    return arrives + model_.costs.nic;
  }
  /// The owner's side of a one-sided read, at the moment it happens.
  Errc read(MachineId owner, TargetName target, std::uint64_t address, MutableBytes into) {
    const Machine& m = machines_[owner];
    return m.reader ? m.reader(target, address, into) : Errc::machine_unreachable;
  }

  [[nodiscard]] EventQueue& events() noexcept { return events_; }
  [[nodiscard]] Random& random() noexcept { return random_; }
  /// May be changed at any time.
  [[nodiscard]] Model& model() noexcept { return model_; }

 private:
  struct Machine {
    ReadHandler reader;
    std::uint64_t life = 0;
    bool up = false;
    Time out_free{}, in_free{};
  };
  struct Hash {
    std::size_t operator()(MachineId id) const noexcept { return static_cast<std::size_t>(id); }
  };

  EventQueue& events_;
  Model model_;
  Random random_;
  std::unordered_map<MachineId, Machine, Hash> machines_;
};

}  // namespace mitosis::sim
