// SPDX-License-Identifier: MIT
// Spawn and wait: children that the agent makes on the caller's behalf. World: user.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <mitosis/fork/user/arch/arch.hpp>
#include <mitosis/fork/user/client/requests.hpp>
#include <mitosis/fork/user/local/spawn.hpp>

#include <optional>
#include <utility>
#include <vector>

namespace mitosis::client {

/// A child of the agent that runs for the caller.
struct SpawnedChild {
  pid_t pid = 0;
  UniqueFd pidfd;
};

/// Makes `request.count` children with `stdio` (three descriptors, or none: /dev/null). After an
/// error the children that were made already are ended.
inline Result<std::vector<SpawnedChild>> spawn(int sd, const local::Spawn& request,
                                               Span<const int> stdio) {
  shadows().reap();
  const auto in_context = [&](Error error) {
    return error.at_machine(request.machine).of_handler(request.handler).in("spawn");
  };
  const Result<local::ChannelView> channel = connections().use(sd);
  if (!channel) return in_context(channel.error());
  if (Result<void> sent = channel->send(request, local::within(request_patience), stdio); !sent) {
    connections().abandon(sd);
    return in_context(sent.error());
  }
  std::vector<SpawnedChild> children;
  for (;;) {
    Result<local::Packet> packet = connections().receive(sd, local::within(request_patience));
    Result<local::Spawned> some = packet ? local::decode_reply<local::Spawned>(Bytes(packet->bytes))
                                         : Result<local::Spawned>(packet.error());
    if (some && some->pids.size() != packet->fds.size()) {
      connections().abandon(sd);
      some = Error(Errc::bad_message, "a child came without its pidfd");
    }
    if (!some) {
      for (const SpawnedChild& child : children) {
        (void)arch::raw_syscall(SYS_pidfd_send_signal, child.pidfd.get(), SIGKILL, nullptr, 0);
      }
      return in_context(some.error());
    }
    for (std::size_t i = 0; i < some->pids.size(); ++i) {
      children.push_back({some->pids[i], std::move(packet->fds[i])});
    }
    if (some->remaining == 0) return children;
  }
}

/// The next end of a child that was spawned over `sd`; none when `patience` passes before.
inline Result<std::optional<local::ChildExited>> wait_child(int sd,
                                                            std::chrono::milliseconds patience) {
  using Outcome = std::optional<local::ChildExited>;
  shadows().reap();
  const Result<local::ChannelView> channel = connections().use(sd);
  if (!channel) return channel.error();
  if (Outcome known = connections().next_exit(sd)) return known;
  Result<local::Packet> packet = channel->receive(local::within(patience));
  if (!packet) {
    if (packet.code() == Errc::timed_out) return Outcome();
    connections().abandon(sd);
    return packet.error().in("wait");
  }
  const auto exited = local::decode_packet<local::ChildExited>(Bytes(packet->bytes));
  if (!exited) return Error(exited.error()).in("wait");
  return Outcome(*exited);
}

}  // namespace mitosis::client
