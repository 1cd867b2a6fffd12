// SPDX-License-Identifier: MIT
// SpawnedChildren: children that the agent made for us, from the request to their ends. World:
// user.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::tools {

struct SpawnedChild {
  int pid = 0;
  UniqueFd pidfd;
  std::optional<int> status;  ///< as of waitpid(2); nothing while it runs

  /// As a shell tells it; 1 where it is not known.
  [[nodiscard]] int exit_status() const noexcept {
    if (!status) return 1;
    return WIFSIGNALED(*status) ? 128 + WTERMSIG(*status) : WEXITSTATUS(*status);
  }
};

/// One request's children. Blocks the signals that it passes on, from its start to its end.
class SpawnedChildren {
 public:
  explicit SpawnedChildren(local::Channel agent) : agent_(std::move(agent)) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP}) sigaddset(&set, number);
    ::pthread_sigmask(SIG_BLOCK, &set, &old_mask_);
    signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~SpawnedChildren() { ::pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr); }
  SpawnedChildren(const SpawnedChildren&) = delete;
  SpawnedChildren& operator=(const SpawnedChildren&) = delete;

  /// Has them made, with our standard descriptors if `share_stdio`. After an error `all()` holds
  /// those that run nevertheless.
  Result<void> make(const local::Spawn& request, bool share_stdio);
  /// Returns once all have ended, passing signals on meanwhile. connection_lost: the agent went, so
  /// that they ended with a status nobody knows.
  Result<void> wait();
  [[nodiscard]] const std::vector<SpawnedChild>& all() const noexcept { return children_; }

 private:
  Result<void> take(local::Packet packet);
  void pass_signals_on();
  [[nodiscard]] bool all_known() const {
    return std::all_of(children_.begin(), children_.end(),
                       [](const SpawnedChild& c) { return c.status.has_value(); });
  }
  /// Waits for the processes themselves, without the agent.
  void wait_for_pidfds();

  local::Channel agent_;
  UniqueFd signals_;
  sigset_t old_mask_ = {};
  std::vector<SpawnedChild> children_;
  std::vector<local::ChildExited> early_;  // ends that were told before their beginnings
  bool complete_ = false;
};

inline Result<void> SpawnedChildren::make(const local::Spawn& request, bool share_stdio) {
  // Each child has its deadline at the agent; this one is for an agent that has stopped answering.
  const auto deadline =
      local::within(std::chrono::seconds(30) + std::chrono::milliseconds(100) * request.count);
  const int stdio[3] = {0, 1, 2};
  const Span<const int> fds = share_stdio ? Span<const int>(stdio) : Span<const int>();
  if (auto sent = agent_.send(request, deadline, fds); !sent) return sent;
  while (!complete_) {
    Result<local::Packet> packet = agent_.receive(deadline);
    if (!packet) return packet.error();
    if (auto taken = take(std::move(*packet)); !taken) return taken;
  }
  return {};
}

inline Result<void> SpawnedChildren::take(local::Packet packet) {
  const Bytes bytes(packet.bytes.data(), packet.bytes.size());
  const Result<local::LocalType> type = local::packet_type(bytes);
  if (type && *type == local::LocalType::child_exited) {
    const auto exited = local::decode_packet<local::ChildExited>(bytes);
    if (!exited) return exited.error();
    const auto it = std::find_if(children_.begin(), children_.end(), [&](const SpawnedChild& c) {
      return c.pid == exited->pid && !c.status;
    });
    if (it == children_.end()) {
      early_.push_back(*exited);
    } else {
      it->status = exited->status;
    }
    return {};
  }
  const auto spawned = local::decode_reply<local::Spawned>(bytes);
  if (!spawned) return spawned.error();
  for (std::size_t i = 0; i < spawned->pids.size(); ++i) {
    SpawnedChild child{spawned->pids[i], {}, std::nullopt};
    if (i < packet.fds.size()) child.pidfd = std::move(packet.fds[i]);
    const auto it = std::find_if(early_.begin(), early_.end(),
                                 [&](const auto& exited) { return exited.pid == child.pid; });
    if (it != early_.end()) {
      child.status = it->status;
      early_.erase(it);
    }
    children_.push_back(std::move(child));
  }
  complete_ = spawned->remaining == 0;
  return {};
}

inline void SpawnedChildren::pass_signals_on() {
  signalfd_siginfo info;
  while (::read(signals_.get(), &info, sizeof info) == ssize_t{sizeof info}) {
    for (const SpawnedChild& child : children_) {
      if (child.status || !child.pidfd) continue;
      ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), static_cast<int>(info.ssi_signo), nullptr,
                0);
    }
  }
}

inline Result<void> SpawnedChildren::wait() {
  while (!all_known()) {
    pollfd ready[2] = {{agent_.fd(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (::poll(ready, 2, -1) < 0 && errno != EINTR) {
      return Error(Errc::system_call_failed, "poll", errno).in("wait for the children");
    }
    if (ready[1].revents != 0) pass_signals_on();
    if (ready[0].revents == 0) continue;
    Result<local::Packet> packet = agent_.receive(local::within(std::chrono::seconds(5)));
    Result<void> taken = packet ? take(std::move(*packet)) : Result<void>(packet.error());
    if (!taken) {
      wait_for_pidfds();
      return taken.error().in("wait for the children");
    }
  }
  return {};
}

inline void SpawnedChildren::wait_for_pidfds() {
  for (const SpawnedChild& child : children_) {
    while (!child.status && child.pidfd) {
      pollfd ready[2] = {{child.pidfd.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
      if (::poll(ready, 2, -1) < 0 && errno != EINTR) return;
      if (ready[1].revents != 0) pass_signals_on();
      if (ready[0].revents != 0) break;
    }
  }
}

}  // namespace mitosis::tools
