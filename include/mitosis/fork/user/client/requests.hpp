// SPDX-License-Identifier: MIT
// The requests of one packet and one answer: nil, connect, reclaim. World: user.
#pragma once

#include <mitosis/fork/user/client/connections.hpp>
#include <mitosis/fork/user/client/shadows.hpp>
#include <mitosis/fork/user/local/basic.hpp>

#include <string>
#include <utility>

namespace mitosis::client {

/// How long a request waits for its answer; the agent's own deadlines are shorter.
inline constexpr std::chrono::milliseconds request_patience{30000};

namespace detail {
template <class M>
Result<void> request(int sd, const M& message, const char* step) {
  shadows().reap();
  Result<local::Done> done = connections().call<local::Done>(sd, message, request_patience);
  if (!done) return done.error().in(step);
  return {};
}
}  // namespace detail

/// Does nothing, by way of the agent.
inline Result<void> nil(int sd) {
  return detail::request(sd, local::Nil{}, "nil");
}

/// Makes `machine` known as the agent at `address` ("host:port"). Root only.
inline Result<void> connect_machine(int sd, MachineId machine, std::uint32_t nic,
                                    const std::string& address) {
  local::Connect message;
  message.machine = machine;
  message.nic = nic;
  message.address = address;
  Result<void> done = detail::request(sd, message, "connect");
  if (!done) done.error().at_machine(machine);
  return done;
}

/// Calls the agent of a machine that this machine's agent knows. For every user.
inline Result<void> ping_machine(int sd, MachineId machine) {
  local::Connect message;
  message.machine = machine;
  Result<void> done = detail::request(sd, message, "ping");
  if (!done) done.error().at_machine(machine);
  return done;
}

/// The agent's counters, a JSON object: "machine" is its id.
inline Result<std::string> stats(int sd) {
  shadows().reap();
  auto text = connections().call<local::StatsText>(sd, local::Stats{}, request_patience);
  if (!text) return text.error().in("stats");
  return std::move(text->json);
}

/// Ends a handler of this machine that the caller's user has prepared (root: any). Once it returns
/// no page is served any more.
inline Result<void> reclaim(int sd, HandlerId handler) {
  local::Reclaim message;
  message.handler = handler;
  Result<void> done = detail::request(sd, message, "reclaim");
  if (!done) done.error().of_handler(handler);
  shadows().reap();  // its shadow may have ended already
  return done;
}

/// Ends a handler of another machine, or of another user, by its key.
inline Result<void> reclaim(int sd, MachineId machine, HandlerId handler, const AuthKey& key) {
  local::Reclaim message;
  message.machine = machine;
  message.handler = handler;
  message.has_key = true;
  message.key = key;
  Result<void> done = detail::request(sd, message, "reclaim");
  if (!done) done.error().at_machine(machine).of_handler(handler);
  shadows().reap();
  return done;
}

}  // namespace mitosis::client
