// SPDX-License-Identifier: MIT
// Where a machine's connection pool is attached to: beside the agent that holds it. World: user.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

namespace mitosis::pool {

/// Where this machine's agent listens, unless it is told otherwise.
inline constexpr std::string_view usual_agent = "/run/mitosis/agent.sock";

/// The pool of the agent at `/run/m1.sock` is at `/run/m1.pool.sock`: agents of one folder have
/// pools of their own.
[[nodiscard]] inline std::string socket_of_agent(std::string_view agent) {
  constexpr std::string_view end = ".sock";
  if (agent.ends_with(end)) agent.remove_suffix(end.size());
  return std::string(agent) + ".pool.sock";
}

/// The pool of the agent that this process is to use: $MITOSIS_SOCKET's, else the usual one's. A
/// set-uid program does not listen to its environment.
[[nodiscard]] inline std::string usual_socket() {
  const char* const set = ::secure_getenv("MITOSIS_SOCKET");
  return socket_of_agent(set != nullptr && *set != '\0' ? std::string_view(set) : usual_agent);
}

}  // namespace mitosis::pool
