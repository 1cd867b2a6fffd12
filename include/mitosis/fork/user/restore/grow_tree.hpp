// SPDX-License-Identifier: MIT
// grow_tree(): the launchers of a tree's other processes, forked from the root's. World: user.
// Each is the child of its parent's launcher, under its own number, in its session and process
// group; then it becomes its process as every other child does. Included by launch.hpp only.
#pragma once

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/messages.hpp>
#include <mitosis/fork/user/numbered_fork.hpp>
#include <mitosis/fork/user/restore/launch.hpp>
#include <mitosis/fork/user/restore/member.hpp>
#include <mitosis/fork/user/restore/tree_gate.hpp>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::restore {

namespace detail {

/// What all launchers of a tree know.
struct Tree {
  const Member& root;
  const ResumeRequest& request;
  const TreeGate &led, &joined;           ///< all process groups have their leaders, their members
  const std::vector<UniqueFd>& channels;  ///< by member; none for the root and what has ended
  local::Deadline deadline;
  [[nodiscard]] descriptor::MemberRecord at(std::size_t i) const noexcept {
    return root.root.tree()[i];
  }
  [[nodiscard]] std::size_t size() const noexcept { return root.root.tree().size(); }
};

inline bool is_gone(const descriptor::MemberRecord& member) noexcept {
  return (member.flags & descriptor::member_gone) != 0;
}

inline Error cannot_grow(const descriptor::MemberRecord& member, const char* what, int err) {
  Error error(Errc::system_call_failed, "process ", err);
  descriptor::append_number(error.subject, member.pid);
  error.subject.append(": ").append(what);
  return error.in("make a tree");
}

[[noreturn]] inline void become_member(const Tree& tree, std::uint32_t index);

/// Forks the children of a member, in whose launcher it runs.
inline Result<void> fork_children(const Tree& tree, std::uint32_t index) {
  for (std::uint32_t i = index + 1; i < tree.size(); ++i) {
    const descriptor::MemberRecord child = tree.at(i);
    if (child.parent != index) continue;
    const long made = numbered_fork(child.pid, child.exit_signal);
    if (made < 0) return cannot_grow(child, "take its number", static_cast<int>(-made));
    if (made == 0) become_member(tree, i);
  }
  return {};
}

/// The member's process group. Its leader makes it before the gate opens; the others join then,
/// before the second opens: a leader may end then.
inline Result<void> take_group(const Tree& tree, std::uint32_t index) {
  const descriptor::MemberRecord self = tree.at(index);
  const std::uint32_t leader = self.group == descriptor::no_leader ? 0 : self.group;
  if (leader == index && ::getpgrp() != ::getpid() && ::setpgid(0, 0) != 0) {
    return cannot_grow(self, "lead its process group", errno);
  }
  if (Result<void> all = tree.led.pass(tree.deadline); !all) return all;
  const auto group = static_cast<pid_t>(tree.at(leader).pid);
  if (::getpgrp() != group && ::setpgid(0, group) != 0) {
    return cannot_grow(self, "join its process group", errno);
  }
  return tree.joined.pass(tree.deadline);
}

/// Its children that have ended have done so before it runs: no signal tells it a second time. Who
/// is gone is waited for.
inline Result<void> await_ended(const Tree& tree, std::uint32_t index) {
  for (std::uint32_t i = index + 1; i < tree.size(); ++i) {
    const descriptor::MemberRecord child = tree.at(i);
    if (child.parent != index || !descriptor::has_ended(child)) continue;
    siginfo_t info = {};
    const auto pid = static_cast<id_t>(child.pid);
    const int how = WEXITED | __WALL | (is_gone(child) ? 0 : WNOWAIT);
    while (::waitid(P_PID, pid, &info, how) != 0) {
      if (errno != EINTR) return cannot_grow(child, "wait for its end", errno);
    }
  }
  return {};
}

/// From the fork on: everything of the member that its parent cannot do, and its children.
inline Result<void> settle_member(const Tree& tree, std::uint32_t index) {
  const descriptor::MemberRecord self = tree.at(index);
  if (index != 0 && self.session == index && ::setsid() < 0) {
    return cannot_grow(self, "lead its session", errno);
  }
  if (Result<void> forked = fork_children(tree, index); !forked) return forked;
  if (Result<void> group = take_group(tree, index); !group) return group;
  return await_ended(tree, index);
}

/// As the process has ended, without a core file.
[[noreturn]] inline void end_as(std::uint32_t status) {
  const int how = static_cast<int>(status);
  if (WIFSIGNALED(how)) {
    const rlimit none = {0, 0};
    ::setrlimit(RLIMIT_CORE, &none);
    ::signal(WTERMSIG(how), SIG_DFL);
    ::kill(::getpid(), WTERMSIG(how));
  }
  ::_exit(WEXITSTATUS(how));
}

/// In its launcher. A failure ends it, and with it the tree: the agent hears of it.
[[noreturn]] inline void become_member(const Tree& tree, std::uint32_t index) {
  Result<void> done = settle_member(tree, index);
  const descriptor::MemberRecord self = tree.at(index);
  if (done && descriptor::has_ended(self)) end_as(self.status);
  if (descriptor::has_ended(self)) ::_exit(exit_not_restored);
  const local::ChannelView channel(tree.channels[index].get());
  for (const UniqueFd& other : tree.channels) {  // whose end is to be seen when they end
    if (other && other.get() != channel.fd()) ::close(other.get());
  }
  if (done) {
    const Member member{index, tree.root.root, tree.root.files, tree.root.shared};
    done = take_over(channel, tree.request, &member);
  }
  (void)channel.send(local::Failed{done.error()}, local::within(std::chrono::seconds(1)));
  ::_exit(exit_not_restored);
}

/// A connection for each member, of which the agent is sent the other ends.
inline Result<std::vector<UniqueFd>> connect_members(const Member& root,
                                                     const local::ChannelView& agent,
                                                     local::Deadline deadline) {
  const auto tree = root.root.tree();
  std::vector<UniqueFd> ours(tree.size()), theirs;
  std::vector<int> handed;
  for (std::size_t i = 1; i < tree.size(); ++i) {
    if (descriptor::has_ended(tree[i])) continue;
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
      return cannot_grow(tree[i], "a connection", errno);
    }
    ours[i] = UniqueFd(pair[0]);
    theirs.emplace_back(pair[1]);
    handed.push_back(pair[1]);
    const int on = 1;  // already now: it says who sends as the packet is sent
    ::setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  }
  const local::Members members{static_cast<std::uint32_t>(handed.size())};
  if (auto done = agent.call<local::Done>(members, deadline, handed); !done) return done.error();
  return ours;
}

}  // namespace detail

inline Result<void> grow_tree(const Member& root, const local::ChannelView& agent,
                              const ResumeRequest& request, local::Deadline deadline) {
  if (!request.same_numbers) {
    return Error(Errc::invalid_argument, "a process tree takes a pid namespace: spawn --pidns")
        .in("make a tree");
  }
  const auto channels = detail::connect_members(root, agent, deadline);
  if (!channels) return channels.error();
  const auto launchers = static_cast<std::uint32_t>(root.root.tree().size());
  const auto led = TreeGate::make(launchers), joined = TreeGate::make(launchers);
  if (!led) return led.error();
  if (!joined) return joined.error();
  return detail::settle_member({root, request, *led, *joined, *channels, deadline}, 0);
}

}  // namespace mitosis::restore
