// SPDX-License-Identifier: MIT
// Session: prepare of another process, by its pid, and of a caller that has several threads: the
// same, but that in its children the calling thread returns. World: user. Included by session.hpp
// only.
//
//   the caller's connection      the capturers           the shadows' connections
//   1. who asks, for whom
//   2. start a capturer each     stop the tree
//   3. check all of it           read their threads
//   4. agree                     clone them, let go      report
//   5. offer what was read                               capture and publish, as in any prepare
//   6. tell the caller
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/caller_rights.hpp>
#include <mitosis/fork/user/agent/dropped_words.hpp>
#include <mitosis/fork/user/agent/has_ended.hpp>
#include <mitosis/fork/user/agent/policy_choice.hpp>
#include <mitosis/fork/user/agent/process_owner.hpp>
#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/agent/tree_capture.hpp>
#include <mitosis/fork/user/agent/waiting_caller.hpp>
#include <mitosis/fork/user/capture/trace/clone.hpp>
#include <mitosis/fork/user/local/caller_thread.hpp>

#include <cerrno>
#include <string>

namespace mitosis::agent {

namespace detail {

/// Less than a caller of prepare has.
inline constexpr std::chrono::seconds turn_patience{7};

/// Refuses what has no file tree: a pid that nobody has, and a zombie.
inline Result<void> check_runs(pid_t pid) {
  const std::string process = "/proc/" + std::to_string(pid);
  struct stat tree = {};
  if (::stat((process + "/root").c_str(), &tree) == 0 || errno != ENOENT) return {};
  const bool exited = ::access(process.c_str(), F_OK) == 0;
  const std::string about = exited ? "it has exited; its parent has not yet waited for it"
                                   : "there is no process " + std::to_string(pid);
  return Error(exited ? Errc::unsupported_process : Errc::invalid_argument, about.c_str())
      .in("check the process");
}

}  // namespace detail

inline Result<void> Session::prepare_process(const local::Packet& packet) {
  auto message = local::decode_packet<local::PrepareProcess>(Bytes(packet.bytes));
  if (!message) return message.error();
  const auto failed = [&](Error why) { return why.of_handler(message->handler).in("prepare"); };
  // 1. Who asks, for whom.
  const auto policy =
      detail::policy_of(message->policy, worker_.options.policy, worker_.rdma.get());
  if (!policy) return failed(policy.error());
  const auto rights = caller_rights(packet.sender, channel_.fd());
  if (!rights) return failed(rights.error());
  const pid_t pid = message->pid;
  if (pid <= 0 || pid == ::getpid() || pid == ::getppid()) {
    return failed(Error(Errc::invalid_argument, "not the pid of a process that can be prepared"));
  }
  if (auto r = detail::check_runs(pid); !r) return failed(r.error());
  StepTimer timer(worker_.profile, policy->profile);
  auto parent = worker_.parents.reserve(message->handler, packet.sender.uid, pid,
                                        std::string(format(*policy).c_str()), !policy->cow);
  if (!parent) return parent.error();

  // 2. to 5.
  const auto turn = worker_.capture_turns.take(pid, Clock::now() + detail::turn_patience);
  if (!turn) {
    worker_.parents.abandon(*parent);
    return failed(turn.error());
  }
  TreeCapture tree(worker_, *rights, *parent);
  const auto captured = tree.run(message->alone, message->lossy);
  if (!captured) {
    worker_.parents.abandon(*parent);
    return failed(captured.error());
  }
  timer.done("prepare.freeze");
  // 6. The targets run on, so there is time to wait for the rest.
  auto all = tree.members();
  all.push_back(*parent);
  for (const std::shared_ptr<Parent>& member : all) {
    auto published = worker_.parents.get(member->handler, nullptr, Clock::now() + step_deadline);
    if (!published) {
      worker_.parents.abandon(*parent);
      return failed(published.error());
    }
  }
  const local::ProcessPrepared prepared{(*parent)->key,      (*parent)->generation,
                                        captured->threads,   captured->stopped_ns,
                                        captured->processes, detail::told(captured->dropped)};
  auto told = reply(prepared);
  if (!told) (void)worker_.parents.reclaim(message->handler, &(*parent)->key, 0);  // no one has it
  return told;
}

/// For a caller of prepare that has several threads. It waits for our answer, and has asked for it:
/// no right to trace it is needed but ours.
inline Result<local::Prepared> Session::capture_caller(const local::Packet& packet,
                                                       const local::Prepare& message,
                                                       const std::shared_ptr<Parent>& parent) {
  const auto thread = local::caller_thread_of(Bytes(message.caller));
  if (!thread) return thread.error();
  if (parent->pid <= 0) {
    return Error(Errc::unsupported_process, "its pid namespace is not the agent's nor below it");
  }
  const auto turn = worker_.capture_turns.take(parent->pid, Clock::now() + detail::turn_patience);
  if (!turn) return turn.error();
  const auto lifeline = detail::lifeline_for(parent->pid, worker_.options.socket);
  if (!lifeline) return lifeline.error();
  const detail::WaitingCaller caller{packet.sender.uid, message.own_fds, *thread};
  const CallerRights ours{::geteuid(), ::getegid(), ~std::uint64_t{0}};
  const bool lossy = (message.flags & local::prepare_lossy) != 0;
  const auto frozen = freeze(parent, ours, *lifeline, lossy, caller);
  if (!frozen) {
    worker_.prepares.refuse(lifeline->nonce);
    return frozen.error();
  }
  local::Prepared prepared{parent->key, parent->generation, 0, detail::told(frozen->dropped)};
  // The number that it has for the caller, who is to bury it. It may be gone already.
  const auto shadow = capture::open_process(frozen->shadow);
  const auto number = shadow ? capture::detail::own_pid_of(shadow->get()) : shadow.error();
  if (number) prepared.shadow = static_cast<std::int32_t>(*number);
  return prepared;
}

inline Result<Session::FreezeOutcome> Session::freeze(const std::shared_ptr<Parent>& parent,
                                                      const CallerRights& rights,
                                                      const capture::Lifeline& lifeline, bool lossy,
                                                      const detail::WaitingCaller& caller) {
  auto capturer = Capturer::start(parent->pid, lifeline, rights);
  if (!capturer) return capturer.error();
  if (auto r = capturer->await_stop(); !r) return r.error();
  // 3. It stands still. Its pid is still its own.
  if (detail::has_ended(parent->parent_pidfd.get())) {
    return Error(Errc::child_died, "the process").in("check the process");
  }
  const auto uid = detail::user_of(parent->pid);
  if (!uid) return uid.error();
  // It can execute no other program any more.
  if (auto r = check_owner(parent->pid, caller.uid); !r) return r.error();
  auto facts = capture::check_parent(parent->pid, caller.own_fds,
                                     {true, capturer->pid(), lossy, worker_.budget_left()});
  if (!facts) return facts.error();
  // 4. and 5. The shadow waits until it is offered.
  if (auto r = capturer->agree(); !r) return r.error();
  auto frozen = capturer->await_end();
  if (!frozen) return frozen.error();
  if (auto r = detail::set_off(caller.thread, frozen->threads); !r) return r.error();
  FreezeOutcome outcome{static_cast<std::uint32_t>(frozen->threads.size()), frozen->stopped_ns,
                        frozen->shadow, facts->dropped};
  worker_.prepares.offer(lifeline.nonce, {parent, std::move(*facts), *uid, std::move(*frozen), {}});
  return outcome;
}

}  // namespace mitosis::agent
