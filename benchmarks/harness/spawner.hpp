// SPDX-License-Identifier: MIT
// Spawner: has an agent make children and sees them all end. World: user.
#pragma once

#include <harness/scene.hpp>
#include <mitosis/fork/user/client/key_text.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <chrono>
#include <optional>
#include <utility>

namespace bench {

/// One connection to the agent, used for batch after batch.
class Spawner {
 public:
  Spawner(testbed::AgentProcess& agent, const Handle& handle) {
    auto connected = agent.connect();
    if (connected) channel_ = std::move(*connected);
    request_.machine = parent_machine;
    request_.handler = mitosis::HandlerId{handle.handler};
    if (const auto key = mitosis::parse_key_text(handle.key)) request_.key = *key;
  }

  /// True once `count` children have run and exited with 0.
  bool run(unsigned count) {
    const auto deadline = mitosis::local::within(std::chrono::seconds(30));
    request_.count = count;
    if (!channel_ || !channel_->send(request_, deadline)) return false;
    bool all_made = false;
    unsigned ended = 0;
    while (!all_made || ended < count) {
      const auto packet = channel_->receive(deadline);
      if (!packet) return complain(packet.error());
      const mitosis::Bytes bytes(packet->bytes.data(), packet->bytes.size());
      const auto type = mitosis::local::packet_type(bytes);
      if (type && *type == mitosis::local::LocalType::child_exited) {
        const auto exited = mitosis::local::decode_packet<mitosis::local::ChildExited>(bytes);
        if (!exited || exited->status != 0) return false;
        ++ended;
        continue;
      }
      const auto spawned = mitosis::local::decode_reply<mitosis::local::Spawned>(bytes);
      if (!spawned) return complain(spawned.error());
      all_made = spawned->remaining == 0;
    }
    return true;
  }

 private:
  static bool complain(const mitosis::Error& error) {
    std::fprintf(stderr, "benchmark: spawn: %s\n", mitosis::describe(error).c_str());
    return false;
  }
  std::optional<mitosis::local::Channel> channel_;
  mitosis::local::Spawn request_;
};

}  // namespace bench
