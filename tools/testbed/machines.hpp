// SPDX-License-Identifier: MIT
// Machines: any number of machines on one switch, an agent on each. World: user.
// TwoMachines is the same with a plain cable, for what measures time; here they may also crash,
// come back and lose their cable.
#pragma once

#include <signal.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/local/messages.hpp>
#include <testbed/agent_process.hpp>
#include <testbed/bridge.hpp>
#include <testbed/interface.hpp>
#include <testbed/netns.hpp>
#include <testbed/proc.hpp>
#include <testbed/temp_dir.hpp>
#include <testbed/veth.hpp>

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::testbed {

struct MachinesSpec {
  std::string command;                     ///< path of `mitosis`
  std::uint32_t count = 2;                 ///< at most 200
  std::string prefix = "mitosis-testbed";  ///< of the directory's name
  std::vector<std::string> extra;          ///< more options for every agent
};

/// Owns machines 1 to count; machine k is 10.77.0.k and listens on port 7411. The addresses exist
/// in the namespaces alone. No agent knows another before `introduce`. The thread that makes it
/// must outlive it (see Process). Not thread-safe.
class Machines {
 public:
  static Result<Machines> create(const MachinesSpec& spec) {
    Result<TempDir> dir = TempDir::create(spec.prefix);
    if (!dir) return dir.error();
    Result<NetNamespace> hub = NetNamespace::create();
    if (!hub) return hub.error();
    Machines made(spec, std::move(*dir), std::move(*hub));
    {
      const Inside inside(made.hub_);
      if (auto bridge = make_bridge("br0"); !bridge) return bridge.error();
    }
    for (std::uint32_t k = 1; k <= spec.count; ++k) {
      if (auto plugged = made.plug_in(k); !plugged) return plugged.error();
      if (auto started = made.start(k); !started) return started.error();
    }
    return made;
  }

  [[nodiscard]] const TempDir& directory() const noexcept { return directory_; }
  [[nodiscard]] int network(std::uint32_t k) const noexcept { return networks_[k - 1].fd(); }
  [[nodiscard]] bool has_agent(std::uint32_t k) const { return agents_[k - 1].has_value(); }
  [[nodiscard]] AgentProcess& agent(std::uint32_t k) { return *agents_[k - 1]; }
  [[nodiscard]] std::string socket(std::uint32_t k) const { return home(k) + "/agent.sock"; }
  static std::string address(std::uint32_t k) { return "10.77.0." + std::to_string(k) + ":7411"; }

  /// Starts machine k's agent, which is not running.
  Result<void> start(std::uint32_t k) {
    AgentSpec spec{.command = spec_.command, .machine = MachineId{k}, .directory = home(k)};
    spec.secret = secret_;
    spec.extra = spec_.extra;
    spec.network = network(k);
    spec.patience = std::chrono::seconds(30);
    Result<AgentProcess> agent = AgentProcess::start(spec);
    if (!agent) return agent.error();
    agents_[k - 1] = std::move(*agent);
    return {};
  }
  /// SIGTERM, and waits for the end.
  void stop(std::uint32_t k) { agents_[k - 1].reset(); }

  /// SIGKILL to the whole agent at once: no part of it can do anything about it. Its kernel ends
  /// its connections; see unplug() for a machine that falls silent.
  void crash(std::uint32_t k) {
    const int keeper = agent(k).process().pid();
    ::kill(keeper, SIGSTOP);  // or it starts a new worker
    for (const int pid : children_of(keeper)) ::kill(pid, SIGKILL);
    ::kill(keeper, SIGKILL);
    agents_[k - 1].reset();
  }
  /// The process that serves, as long as it lives; 0 if there is none at the moment.
  [[nodiscard]] int worker(std::uint32_t k) {
    for (const int pid : children_of(agent(k).process().pid())) {
      if (name_of(pid) == "mitosis-worker") return pid;
    }
    return 0;
  }

  /// Machine k's cable is pulled or plugged: packets go nowhere, and no one is told.
  Result<void> set_cable(std::uint32_t k, bool plugged) {
    const Inside inside(hub_);
    return set_interface_up(port(k), plugged);
  }

  /// Machine `at` gets to know `other`.
  Result<void> introduce(std::uint32_t at, std::uint32_t other) {
    Result<local::Channel> channel = agent(at).connect();
    if (!channel) return channel.error();
    const local::Connect request{MachineId{other}, 0, address(other)};
    auto done = channel->call<local::Done>(request, local::within(std::chrono::seconds(20)));
    if (!done) return done.error();
    return {};
  }

 private:
  Machines(MachinesSpec spec, TempDir directory, NetNamespace hub)
      : spec_(std::move(spec)), directory_(std::move(directory)), hub_(std::move(hub)) {
    std::random_device random;
    secret_ = std::to_string(random()) + "-" + std::to_string(random()) + "-secret";
    agents_.resize(spec_.count);
  }
  static std::string port(std::uint32_t k) { return "port" + std::to_string(k); }
  [[nodiscard]] std::string home(std::uint32_t k) const {
    return directory_.file(std::to_string(k));
  }
  Result<void> plug_in(std::uint32_t k) {
    Result<NetNamespace> network = NetNamespace::create();
    if (!network) return network.error();
    {
      const Inside inside(hub_);
      if (auto joined = make_veth(port(k), *network, "eth0"); !joined) return joined;
      if (auto joined = add_to_bridge("br0", port(k)); !joined) return joined;
    }
    const Inside inside(*network);
    if (auto set = set_interface_address("eth0", 0x0a4d0000u + k, 24); !set) return set;
    for (const char* name : {"lo", "eth0"}) {
      if (auto up = set_interface_up(name, true); !up) return up;
    }
    networks_.push_back(std::move(*network));
    return {};
  }

  MachinesSpec spec_;
  std::string secret_;
  TempDir directory_;  // before the agents: it goes last
  NetNamespace hub_;
  std::vector<NetNamespace> networks_;
  std::vector<std::optional<AgentProcess>> agents_;
};

}  // namespace mitosis::testbed
