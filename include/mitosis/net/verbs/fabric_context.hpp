// SPDX-License-Identifier: MIT
// What the lanes of one verbs fabric share. World: user; one thread.
#pragma once

#include <mitosis/net/tcp/ring.hpp>
#include <mitosis/net/verbs/cm_connect.hpp>
#include <mitosis/net/verbs/control_path.hpp>
#include <mitosis/net/verbs/errands.hpp>

#include <cstdint>
#include <functional>
#include <vector>

namespace mitosis::verbs {

struct FabricOptions {
  bool by_cm = false;  ///< connect by rdma_cm; else by the agents' own handshake
  Patience patience;
  std::uint64_t connect_ms = 2000;  ///< a call that connects or asks for pieces
  std::uint64_t ask_again_ms = 20;  ///< for the pieces of a target that has not told all
  /// Completions make wait_fd readable. Without, it must be polled: for who never sleeps.
  bool events = true;
  /// Hears that a connection that had been up was lost, and why. Called by the fabric's thread.
  std::function<void(const Error&)> on_loss = {};
};

struct FabricContext {
  const Nic* nic = nullptr;
  ControlPath* control = nullptr;
  FabricOptions options;
  std::uint64_t client = 0;  ///< random: names this fabric to its peers
  const EventChannel* channel = nullptr;
  Errands* errands = nullptr;
  tcp::Ring<ReadCompletion> done;     ///< that poll has not handed out yet
  std::vector<ReadRequest> rerouted;  ///< for the second way
  /// A peer's device refused a key: what is known of the target is out of date.
  std::function<void(MachineId, const TargetName&)> on_refused_key;
  Error last_failure;
};

}  // namespace mitosis::verbs
