// SPDX-License-Identifier: MIT
// Sources: who on this machine has prepared parents and children: its agent, the kernel module, or
// both. World: user.
#pragma once

#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/connect.hpp>

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "kernel_module.hpp"

namespace mitosis::tools {

/// At least one of the two.
struct Sources {
  std::optional<local::Channel> agent;
  std::optional<KernelModule> module;

  /// The agent at `socket`; without one there, where that is the default socket, the module alone.
  /// Why the agent cannot be had, or the module's device not be opened.
  static Result<Sources> open(const std::string& socket) {
    Sources out;
    auto module = KernelModule::open();
    if (!module) return module.error();
    out.module = std::move(*module);
    auto agent = local::connect(socket, std::chrono::seconds(5));
    if (agent) {
      out.agent = std::move(*agent);
    } else if (!out.module || socket != local::default_socket) {
      return agent.error();
    }
    return out;
  }
};

}  // namespace mitosis::tools
