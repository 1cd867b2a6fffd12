// SPDX-License-Identifier: MIT
// The agent, compiled once for whatever program runs one. World: user.
#include <mitosis/fork/user/agent/agent.hpp>

namespace mitosis::agent {

int run_agent(const AgentOptions& options) {
  return serve_machine(options);
}

}  // namespace mitosis::agent
