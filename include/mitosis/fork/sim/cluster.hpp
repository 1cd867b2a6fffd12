// SPDX-License-Identifier: MIT
// Cluster: machines and their network in virtual time. World: sim.
//
//   Cluster cluster(2, seed);
//   auto parent = cluster[0].start();            // map, write ...
//   Ticket ticket = *cluster[0].prepare(*parent, HandlerId{73}, true);
//   cluster.resume(1, ticket, run_policy<P>(), [](auto child) { ... });
//   cluster.run();
#pragma once

#include <mitosis/fork/sim/machine.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::sim {

class Cluster {
 public:
  Cluster(std::size_t machines, std::uint64_t seed, const Model& model = {},
          const MachineOptions& options = {})
      : network_(events_, model, seed) {
    for (std::size_t i = 0; i < machines; ++i) {
      machines_.push_back(
          std::make_unique<Machine>(network_, MachineId{static_cast<std::uint32_t>(i)}, options));
    }
  }
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  [[nodiscard]] Machine& operator[](std::size_t i) noexcept { return *machines_[i]; }
  [[nodiscard]] std::size_t size() const noexcept { return machines_.size(); }
  [[nodiscard]] EventQueue& events() noexcept { return events_; }
  [[nodiscard]] Network& network() noexcept { return network_; }
  [[nodiscard]] Time now() const noexcept { return events_.now(); }

  /// Makes a child of `ticket`'s parent on machine `on`.
  void resume(std::size_t on, const Ticket& ticket, const RunPolicy& policy,
              const Machine::Resumed& done) {
    machines_[on]->resume(*machines_[static_cast<std::size_t>(ticket.machine)], ticket, policy,
                          done);
  }
  /// Until nothing is left to happen.
  void run() { events_.run(); }
  void run_for(std::uint64_t nanoseconds) { events_.run_until(events_.now() + nanoseconds); }

 private:
  EventQueue events_;
  Network network_;
  std::vector<std::unique_ptr<Machine>> machines_;
};

}  // namespace mitosis::sim
