// SPDX-License-Identifier: MIT
// The life of a traced process's shadow, as ops: the same steps as client/shadow.hpp takes in a
// program that prepares itself. World: user.
#pragma once

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>

#include <mitosis/fork/user/capture/trace/remote_op.hpp>
#include <mitosis/fork/user/capture/trace/remote_space.hpp>
#include <mitosis/fork/user/local/packet.hpp>
#include <mitosis/fork/user/local/prepare.hpp>
#include <mitosis/fork/user/local/shadow_facts.hpp>

#include <cstddef>
#include <cstring>
#include <vector>

namespace mitosis::capture {

/// Where the shadow reports to.
struct Lifeline {
  sockaddr_un agent = {};
  std::uint64_t nonce = 0;
};

/// Puts the shadow's ops there and notes them in the slot. Its report tells brk(0) and the signal
/// actions; the threads are known already.
inline void put_shadow_ops(RemoteSpace& space, const Lifeline& lifeline, RemoteSlot& slot) {
  local::ShadowFacts facts;
  facts.bytes = sizeof(facts);
  local::ShadowReady ready;
  ready.nonce = lifeline.nonce;
  ready.facts.resize(sizeof(facts));
  std::memcpy(ready.facts.data(), &facts, sizeof(facts));
  const std::vector<std::uint8_t> packet = local::encode_packet(ready);
  const std::uint64_t packet_at = space.put_bytes(Bytes(packet), 16);
  const std::uint64_t facts_at = packet_at + packet.size() - sizeof(facts);
  const std::uint64_t agent_at = space.put(lifeline.agent);
  const timeval patience = {10, 0};  // a full backlog must not hold a forgotten shadow for ever
  const std::uint64_t patience_at = space.put(patience);
  constexpr char name[16] = "mitosis-shadow";
  const std::uint64_t name_at = space.put(name);
  const std::uint64_t ignored = space.reserve(8, 8);

  std::vector<RemoteOp> ops;
  const auto add = [&ops, ignored](long number, std::array<std::uint64_t, 6> arguments) {
    ops.push_back({static_cast<std::uint64_t>(number), arguments, ignored});
  };
  // 1. Nobody else's pipe or socket may depend on the shadow.
  add(SYS_close_range, {0, ~0u, 0});
  // 2. What only this process can tell.
  add(SYS_brk, {0});
  ops.back().store = facts_at + offsetof(local::ShadowFacts, brk);
  for (std::uint64_t signal = 1; signal <= 64; ++signal) {
    const std::uint64_t to = facts_at + offsetof(local::ShadowFacts, sigactions) +
                             (signal - 1) * sizeof(descriptor::SigactionRecord);
    add(SYS_rt_sigaction, {signal, 0, to, 8});
  }
  add(SYS_prctl, {PR_SET_NAME, name_at});
  // 3. The lifeline: descriptor 0, since all others are closed.
  constexpr std::uint64_t socket = 0;
  add(SYS_socket, {AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC});
  add(SYS_setsockopt, {socket, SOL_SOCKET, SO_SNDTIMEO, patience_at, sizeof(patience)});
  add(SYS_connect, {socket, agent_at, sizeof(lifeline.agent)});
  add(SYS_sendto, {socket, packet_at, packet.size(), MSG_NOSIGNAL});
  // 4. Nor a terminal. Last, for a new session is a new group to the scheduler (sched(7),
  // autogroup), which on a busy machine may wait for seconds until it runs at all.
  add(SYS_setsid, {});
  // 5. Then the code waits for its end.
  slot.shadow_first = space.put(ops[0], ops.size());
  slot.shadow_end = slot.shadow_first + ops.size() * sizeof(RemoteOp);
}

}  // namespace mitosis::capture
