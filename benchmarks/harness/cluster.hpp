// SPDX-License-Identifier: MIT
// Cluster: the two agents that the bars measure, joined by loopback. World: user.
// Not by a veth as in the demo and the tests: a veth is two to three times slower than the loopback
// that the bars' floors are about. They are in a network namespace of their own, so that their
// ports clash with nobody's.
#pragma once

#include <harness/build_file.hpp>
#include <mitosis/base/describe.hpp>
#include <testbed/agent_process.hpp>
#include <testbed/interface.hpp>
#include <testbed/netns.hpp>
#include <testbed/temp_dir.hpp>

#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace bench {

namespace testbed = mitosis::testbed;
using mitosis::MachineId;

inline constexpr MachineId parent_machine{1};
inline constexpr MachineId child_machine{2};

/// Owns two ready agents, of which the child's knows the parent's.
class Cluster {
 public:
  /// Says on stderr what kept it from being.
  static std::optional<Cluster> create() {
    testbed::remove_leftovers(prefix);
    auto made = start();
    if (made) return std::move(*made);
    std::fprintf(stderr, "benchmark: %s\n", mitosis::describe(made.error()).c_str());
    return std::nullopt;
  }

  [[nodiscard]] testbed::AgentProcess& parent_agent() noexcept { return parent_; }
  [[nodiscard]] testbed::AgentProcess& child_agent() noexcept { return child_; }
  /// Environment of programs on either machine.
  [[nodiscard]] static std::string environment(const testbed::AgentProcess& agent) {
    return "MITOSIS_SOCKET=" + agent.socket();
  }

 private:
  static constexpr const char* prefix = "mitosis-bench";

  Cluster(testbed::TempDir directory, testbed::NetNamespace network, testbed::AgentProcess parent,
          testbed::AgentProcess child)
      : directory_(std::move(directory)),
        network_(std::move(network)),
        parent_(std::move(parent)),
        child_(std::move(child)) {}

  static mitosis::Result<Cluster> start() {
    auto directory = testbed::TempDir::create(prefix);
    if (!directory) return directory.error();
    auto network = testbed::NetNamespace::create();
    if (!network) return network.error();
    {
      const testbed::Inside inside(*network);
      if (auto up = testbed::set_interface_up("lo", true); !up) return up.error();
    }
    std::random_device random;
    testbed::AgentSpec spec;
    spec.command = build_file("tools/mitosis");
    spec.secret = std::to_string(random()) + "-" + std::to_string(random()) + "-bench";
    spec.network = network->fd();
    spec.machine = parent_machine;
    spec.directory = directory->file("1");
    spec.listen = parent_address;
    auto parent = testbed::AgentProcess::start(spec);
    if (!parent) return parent.error();
    spec.machine = child_machine;
    spec.directory = directory->file("2");
    spec.listen = "127.0.0.2:7411";
    spec.extra = {"--peer", std::string("1=") + parent_address};
    auto child = testbed::AgentProcess::start(spec);
    if (!child) return child.error();
    return Cluster(std::move(*directory), std::move(*network), std::move(*parent),
                   std::move(*child));
  }

  static constexpr const char* parent_address = "127.0.0.1:7411";
  testbed::TempDir directory_;  // first: it goes last
  testbed::NetNamespace network_;
  testbed::AgentProcess parent_, child_;
};

}  // namespace bench
