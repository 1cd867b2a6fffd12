// SPDX-License-Identifier: MIT
// Session: spawn: the agent makes the children itself. World: user. Included by session.hpp only.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>

#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/agent/tree_refusal.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

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
  who.group_count = static_cast<std::uint32_t>(bytes / sizeof who.groups[0]);
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

/// What the lanes of one spawn share: threads that make a child each, one after the other.
struct SpawnBatch {
  SpawnOrder order;
  std::shared_ptr<const Image> image;
  MemberImages members;
  std::shared_ptr<const ExitTeller> tell;
  std::mutex mutex;  ///< of all below, and of the caller's connection
  std::uint32_t to_make = 0;
  std::uint32_t to_tell = 0;
  Result<void> result;  ///< the first failure; no more children are begun then

  bool take_one() {
    const std::lock_guard lock(mutex);
    return result.ok() && to_make > 0 && to_make-- > 0;
  }
  void fail(const Error& why) {
    const std::lock_guard lock(mutex);
    if (result.ok()) result = why;
  }
};

/// How many children of a spawn are in the making at a time. A resume is a chain of hand-overs
/// (keeper, launcher, session, pager) that leaves the cores idle for most of its time.
inline unsigned spawn_lanes() noexcept {
  return std::clamp(2 * std::thread::hardware_concurrency(), 2u, 16u);
}

}  // namespace detail

/// 1. Fetch the descriptor once. 2. Have the keeper fork a process for each child; each resumes
/// over a connection of its own, a few at a time. 3. Tell the caller of each child that runs, and
/// of its end.
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

  detail::SpawnBatch batch;
  UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  for (std::size_t i = 0; i < 3; ++i) {
    batch.order.stdio[i] = packet.fds.empty() ? null.get() : packet.fds[i].get();
  }
  batch.order.identity = *identity;
  batch.order.machine = message->machine;
  batch.order.handler = message->handler;
  batch.order.key = message->key;
  std::snprintf(batch.order.policy, sizeof batch.order.policy, "%s", message->policy.c_str());
  const descriptor::MachineRecord machine = (*image)->view().machine();
  if ((message->flags & local::spawn_pid_namespace) != 0) {
    batch.order.namespaces.pid = (*image)->view().threads()[0].tid;
    if (batch.order.namespaces.pid == 0) {
      return Error(Errc::unsupported_process, "its descriptor does not tell its process number")
          .of_handler(message->handler)
          .in("spawn in a pid namespace");
    }
  }
  if ((message->flags & (local::spawn_pid_namespace | local::spawn_time_namespace)) != 0) {
    batch.order.namespaces.time = 1;
    batch.order.namespaces.monotonic_ns = machine.monotonic_ns;
    batch.order.namespaces.boottime_ns = machine.boottime_ns;
  }
  batch.order.namespaces.net = (message->flags & local::spawn_net_namespace) != 0 ? 1 : 0;
  if (!(*image)->view().tree().empty()) {
    if (batch.order.namespaces.pid == 0) {
      return detail::needs_namespace().of_handler(message->handler);
    }
    auto members = fetch_members(**image, packet.sender.uid);
    if (!members) return Error(members.error()).of_handler(message->handler);
    batch.members = std::move(*members);
  }
  batch.image = *image;
  batch.tell = std::make_shared<const detail::ExitTeller>(
      UniqueFd(::fcntl(channel_.fd(), F_DUPFD_CLOEXEC, 0)));
  batch.to_make = batch.to_tell = message->count;

  std::vector<std::thread> lanes;
  for (unsigned i = 1; i < std::min(message->count, detail::spawn_lanes()); ++i) {
    try {
      lanes.emplace_back([this, &batch] { make_children(batch); });
    } catch (const std::system_error&) {  // no more threads: those there are do it all
      break;
    }
  }
  make_children(batch);
  for (std::thread& lane : lanes) lane.join();
  return batch.result;
}

/// One lane: makes children until all are in the making, or one has failed.
inline void Session::make_children(detail::SpawnBatch& batch) {
  while (batch.take_one()) {
    if (auto made = make_child(batch); !made) batch.fail(made.error());
  }
}

inline Result<void> Session::make_child(detail::SpawnBatch& batch) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return Error(Errc::system_call_failed, "socketpair", errno).in("spawn");
  }
  UniqueFd ours(pair[0]), theirs(pair[1]);
  const int on = 1;
  ::setsockopt(ours.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  SpawnOrder order = batch.order;
  order.channel = theirs.get();
  auto process = worker_.spawner->spawn(
      order, [tell = batch.tell](int pid, int status) { (*tell)(pid, status); });
  if (!process) return process.error();
  theirs.reset();
  Session child(worker_, local::Channel(std::move(ours)), batch.image, batch.members);
  if (auto r = child.resume_spawned(process->pidfd.get()); !r) return r;
  const int pidfd = process->pidfd.get();
  const std::lock_guard lock(batch.mutex);
  const local::Spawned spawned{{process->pid}, --batch.to_tell};
  return reply(spawned, Span<const int>(&pidfd, 1));
}

inline Result<void> Session::resume_spawned(int pidfd) {
  root_pidfd_ = pidfd;
  auto packet = channel_.receive(local::within(step_deadline));
  if (!packet) return Error(Errc::child_died, "a spawned process").in("spawn");
  auto done = resume(*packet);
  if (!done) (void)reply(local::Failed{done.error()});
  return done;
}

}  // namespace mitosis::agent
