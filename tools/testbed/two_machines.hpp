// SPDX-License-Identifier: MIT
// TwoMachines: two agents, each in its own network namespace, and a cable between. World: user.
// What the demo and the live tests play the cluster with. Everything goes with the object, and with
// the process if that dies first.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/local/messages.hpp>
#include <testbed/agent_process.hpp>
#include <testbed/interface.hpp>
#include <testbed/netns.hpp>
#include <testbed/temp_dir.hpp>
#include <testbed/veth.hpp>

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::testbed {

/// Machine 1 is 10.77.0.1, machine 2 is 10.77.0.2; both listen on port 7411. No clash with any
/// other run: the addresses exist in the namespaces alone.
inline constexpr MachineId parent_machine{1};
inline constexpr MachineId child_machine{2};

struct TestbedSpec {
  std::string command;                     ///< path of `mitosis`
  std::string prefix = "mitosis-testbed";  ///< of the directory's name
  std::vector<std::string> extra;          ///< more options for both agents
};

/// The two networks alone, joined and up.
struct TwoNetworks {
  NetNamespace parent, child;

  static Result<TwoNetworks> create() {
    Result<NetNamespace> a = NetNamespace::create();
    if (!a) return a.error();
    Result<NetNamespace> b = NetNamespace::create();
    if (!b) return b.error();
    TwoNetworks made{std::move(*a), std::move(*b)};
    {
      const Inside inside(made.parent);
      if (auto joined = make_veth("eth0", made.child, "eth0"); !joined) return joined.error();
    }
    for (const auto& [network, address] :
         {std::pair{&made.parent, 0x0a4d0001u}, std::pair{&made.child, 0x0a4d0002u}}) {
      const Inside inside(*network);
      if (auto set = set_interface_address("eth0", address, 24); !set) return set.error();
      for (const char* name : {"lo", "eth0"}) {
        if (auto up = set_interface_up(name, true); !up) return up.error();
      }
    }
    return made;
  }
};

/// Owns both machines. The thread that makes it must outlive it (see Process).
class TwoMachines {
 public:
  /// Both agents run; the child's knows the parent's already.
  static Result<TwoMachines> create(const TestbedSpec& spec) {
    Result<TempDir> dir = TempDir::create(spec.prefix);
    if (!dir) return dir.error();
    Result<TwoNetworks> networks = TwoNetworks::create();
    if (!networks) return networks.error();
    std::random_device random;
    const std::string secret =
        std::to_string(random()) + "-" + std::to_string(random()) + "-" + std::to_string(random());
    AgentSpec a{.command = spec.command, .machine = parent_machine, .directory = dir->file("1")};
    a.secret = secret;
    a.extra = spec.extra;
    a.network = networks->parent.fd();
    AgentSpec b = a;
    b.machine = child_machine;
    b.directory = dir->file("2");
    b.network = networks->child.fd();
    Result<AgentProcess> parent = AgentProcess::start(a);
    if (!parent) return parent.error();
    Result<AgentProcess> child = AgentProcess::start(b);
    if (!child) return child.error();
    TwoMachines machines(std::move(*dir), std::move(*networks), std::move(*parent),
                         std::move(*child));
    if (auto known = machines.introduce(); !known) return known.error();
    return machines;
  }

  [[nodiscard]] const TempDir& directory() const noexcept { return directory_; }
  [[nodiscard]] const TwoNetworks& networks() const noexcept { return networks_; }
  [[nodiscard]] AgentProcess& parent_agent() noexcept { return parent_; }
  [[nodiscard]] AgentProcess& child_agent() noexcept { return child_; }
  /// What the child's machine has received from and sent to the parent's, headers included.
  [[nodiscard]] Traffic traffic() const {
    const Inside inside(networks_.child);
    return interface_traffic("eth0");
  }

 private:
  TwoMachines(TempDir directory, TwoNetworks networks, AgentProcess parent, AgentProcess child)
      : directory_(std::move(directory)),
        networks_(std::move(networks)),
        parent_(std::move(parent)),
        child_(std::move(child)) {}

  Result<void> introduce() {
    Result<local::Channel> agent = child_.connect();
    if (!agent) return agent.error();
    const local::Connect request{parent_machine, 0, "10.77.0.1:7411"};
    auto done = agent->call<local::Done>(request, local::within(std::chrono::seconds(10)));
    if (!done) return done.error();
    return {};
  }

  TempDir directory_;  // first: it goes last
  TwoNetworks networks_;
  AgentProcess parent_, child_;
};

}  // namespace mitosis::testbed
