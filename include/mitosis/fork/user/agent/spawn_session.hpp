// SPDX-License-Identifier: MIT
// Session: spawn: the agent makes the children itself. World: user. Included by session.hpp only.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <mitosis/fork/user/agent/session.hpp>

#include <cstdio>
#include <memory>

namespace mitosis::agent {

namespace detail {

/// The identity of the other end of a connection. Its groups too: a child must not lose access
/// that its caller has, nor gain any.
inline Result<Identity> identity_of(const local::Packet& packet, int socket) noexcept {
  Identity who;
  who.uid = packet.sender.uid;
  who.gid = packet.sender.gid;
  socklen_t bytes = sizeof who.groups;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, who.groups, &bytes) != 0) {
    return Error(Errc::limit_exceeded, "the caller has more than 64 groups", errno).in("spawn");
  }
  who.group_count = bytes / sizeof who.groups[0];
  return who;
}

/// Tells a spawn's caller of its children's ends, also when the connection's thread is busy or
/// gone. Thread-safe: a packet is sent whole. A caller that does not read loses what has no room.
class ExitTeller {
 public:
  explicit ExitTeller(UniqueFd connection) noexcept : connection_(std::move(connection)) {}
  void operator()(int pid, int status) const {
    (void)local::ChannelView(connection_.get())
        .send(local::ChildExited{pid, status}, local::within(std::chrono::milliseconds(0)));
  }

 private:
  UniqueFd connection_;
};

}  // namespace detail

/// 1. Fetch the descriptor once. 2. Have the keeper fork a process for each child; each resumes
/// over a connection of its own. 3. Tell the caller of each child that runs, and of its end.
inline Result<void> Session::spawn(local::Packet packet) {
  auto message = local::decode_packet<local::Spawn>(Bytes(packet.bytes));
  if (!message) return message.error();
  if ((message->flags & local::spawn_local_template) != 0) {
    return Error(Errc::invalid_argument, "a local template is not implemented").in("spawn");
  }
  if (message->count == 0 || message->count > max_children) {
    return Error(Errc::invalid_argument, "spawn 1 to 16384 children").in("spawn");
  }
  if (!packet.fds.empty() && packet.fds.size() != 3) {
    return Error(Errc::bad_message, "0 or 3 file descriptors come with a spawn");
  }
  auto identity = detail::identity_of(packet, channel_.fd());
  if (!identity) return identity.error();
  auto image = fetch(message->machine, message->handler, message->key, packet.sender.uid);
  if (!image) return Error(image.error()).of_handler(message->handler);

  SpawnOrder order;
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (std::size_t i = 0; i < 3; ++i) {
    order.stdio[i] = packet.fds.empty() ? null.get() : packet.fds[i].get();
  }
  order.identity = *identity;
  order.machine = message->machine;
  order.handler = message->handler;
  order.key = message->key;
  std::snprintf(order.policy, sizeof order.policy, "%s", message->policy.c_str());

  const auto tell = std::make_shared<const detail::ExitTeller>(
      UniqueFd(::fcntl(channel_.fd(), F_DUPFD_CLOEXEC, 0)));
  for (std::uint32_t left = message->count; left > 0; --left) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
      return Error(Errc::system_call_failed, "socketpair", errno).in("spawn");
    }
    UniqueFd ours(pair[0]), theirs(pair[1]);
    const int on = 1;
    ::setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
    order.channel = theirs.get();
    auto process =
        worker_.spawner->spawn(order, [tell](int pid, int status) { (*tell)(pid, status); });
    if (!process) return process.error();
    theirs.reset();
    Session child(worker_, local::Channel(std::move(ours)), *image);
    if (auto r = child.resume_spawned(); !r) return r;
    const int pidfd = process->pidfd.get();
    const local::Spawned spawned{{process->pid}, left - 1};
    if (auto r = reply(spawned, Span<const int>(&pidfd, 1)); !r) return r;
  }
  return {};
}

/// The agent's side of one spawned process, up to its first instruction.
inline Result<void> Session::resume_spawned() {
  auto packet = channel_.receive(local::within(step_deadline));
  if (!packet) return Error(Errc::child_died, "a spawned process").in("spawn");
  auto done = resume(*packet);
  if (!done) (void)reply(local::Failed{done.error()});
  return done;
}

}  // namespace mitosis::agent
