// SPDX-License-Identifier: MIT
// Resume, from within a program: it opens a connection of its own, and becomes a child. World:
// user.
#pragma once

#include <mitosis/fork/user/client/connections.hpp>
#include <mitosis/fork/user/restore/launch.hpp>

namespace mitosis::client {

/// Returns only on failure; the caller is then as before. A connection of its own: what a failed
/// attempt has told the agent is undone by closing it.
[[nodiscard]] inline Error resume(const restore::ResumeRequest& request) {
  const auto in_context = [&](Error error) {
    return error.at_machine(request.machine).of_handler(request.handler).in("resume");
  };
  const Result<local::Channel> agent = local::connect(connections().path(), open_patience);
  if (!agent) return in_context(agent.error());
  Result<void> taken = restore::take_over(*agent, request);
  return in_context(taken.error());
}

}  // namespace mitosis::client
