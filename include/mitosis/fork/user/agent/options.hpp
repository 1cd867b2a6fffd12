// SPDX-License-Identifier: MIT
// AgentOptions: what an administrator chooses for a machine's agent. World: user.
#pragma once

#include <mitosis/base/ids.hpp>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::agent {

struct AgentOptions {
  MachineId machine{0};
  /// Where other agents reach this one: "host:port", "[v6]:port"; port 0 takes a free one.
  std::string listen = "0.0.0.0:7411";
  /// What other machines are told to reach this one at; empty: `listen`, where its host is a
  /// wildcard the machine's first IPv4 address that is not loopback.
  std::string advertise;
  std::string socket = "/run/mitosis/agent.sock";  ///< for the programs of this machine
  std::string secret_file;  ///< the cluster's shared secret; empty: only this machine is served
  std::vector<std::pair<MachineId, std::string>> peers;  ///< connected to at the start
  std::string policy = "rc+prefetch8+none+cow";          ///< where a program names none
  std::uint64_t memory_budget = std::uint64_t{4} << 30;  ///< bytes for all caches and copies
  std::chrono::milliseconds cache_idle{60'000};          ///< an unused cache is dropped after this
  std::chrono::milliseconds lease{60'000};         ///< a parent without its process lives this long
  std::chrono::milliseconds page_deadline{5'000};  ///< then the child gets SIGBUS
  unsigned pagers = 2;                             ///< pager threads
  /// Parents may be prepared so that they are resumed without a key (local::prepare_keyless).
  bool keyless = false;
  bool verbs = false;    ///< --fabric verbs: pages come by RDMA where they can
  std::string device;    ///< of verbs; empty: the first
  bool rdma_cm = false;  ///< of verbs: connections are made by rdma_cm
  int gid = -1;          ///< its gid's index; -1: chosen
  /// Of verbs: where processes attach to the connection pool; empty: pool::socket_of_agent.
  std::string pool_socket;
  std::string ready_file;  ///< written with the pid once everything is served; empty: none
};

/// Runs the agent of this machine until SIGTERM or SIGINT; returns the exit status (0 in order,
/// 1 with the reason logged). Needs root, or the capabilities that its refusal names.
int run_agent(const AgentOptions& options);

}  // namespace mitosis::agent
