// SPDX-License-Identifier: MIT
// TreeCapture: a process and those that it has made, all stopped, looked at, cloned and let go.
// World: user.
// Each member is traced by a capturer of its own, so that each goes on by itself whatever becomes
// of the others. What they share is read while all stand still; from then on one that runs on
// before another is cloned changes nothing that the other's clone has.
#pragma once

#include <signal.h>

#include <mitosis/fork/user/agent/capturer.hpp>
#include <mitosis/fork/user/agent/has_ended.hpp>
#include <mitosis/fork/user/agent/left_open.hpp>
#include <mitosis/fork/user/agent/lifeline_for.hpp>
#include <mitosis/fork/user/agent/proc_children.hpp>
#include <mitosis/fork/user/agent/worker.hpp>
#include <mitosis/fork/user/capture/tree_check.hpp>
#include <mitosis/fork/user/capture/tree_links.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// Of one request. What it has not ended with `offer` goes on as if nothing had been.
class TreeCapture {
 public:
  struct Outcome {
    std::uint32_t processes = 0, threads = 0;
    std::uint64_t stopped_ns = 0;
    capture::Dropped dropped;  ///< with `lossy`: what is left out
  };

  /// `root` is reserved, and stays the caller's.
  TreeCapture(Worker& worker, const CallerRights& rights, std::shared_ptr<Parent> root)
      : worker_(worker), rights_(rights), root_(std::move(root)) {}
  TreeCapture(const TreeCapture&) = delete;
  TreeCapture& operator=(const TreeCapture&) = delete;
  ~TreeCapture() {
    for (Member& member : members_) {
      if (!member.capturer) continue;
      if (!offered_) worker_.prepares.refuse(member.lifeline.nonce);
      member.capturer->give_up();  // all, before any of them is waited for
    }
  }

  /// Captures the root, and unless it is to be `alone` all below it; `lossy`: without the open
  /// files that cannot come along. After an error every process goes on.
  Result<Outcome> run(bool alone, bool lossy) {
    lossy_ = lossy;
    if (auto r = stop_root(); !r) return r.error();
    if (auto r = alone ? Result<void>() : stop_all(); !r) return r.error();
    auto facts = look();
    if (!facts) return facts.error();
    return clone_all(std::move(*facts));
  }
  /// The entries of all members but the root, which are published one by one.
  [[nodiscard]] std::vector<std::shared_ptr<Parent>> members() const {
    std::vector<std::shared_ptr<Parent>> list;
    for (const Member& member : members_) {
      if (member.entry != nullptr && member.entry != root_) list.push_back(member.entry);
    }
    return list;
  }

 private:
  struct Member {
    descriptor::MemberRecord record = {};
    std::shared_ptr<Parent> entry;     ///< none of a zombie
    std::optional<Capturer> capturer;  ///< the same
    capture::Lifeline lifeline;
    std::uint32_t uid = 0;
    [[nodiscard]] pid_t pid() const noexcept { return static_cast<pid_t>(record.pid); }
    [[nodiscard]] bool is_gone() const noexcept { return record.pid == 0; }
  };
  struct Seen {
    capture::TreeFacts facts;
    std::vector<descriptor::MemberRecord> records;
  };

  static Error refuse(const std::string& why) {
    return Error(Errc::unsupported_process, why.c_str()).in("check the tree");
  }
  Error of(const Error& why, pid_t pid) const {
    return pid == root_->pid ? why : capture::detail::of_process(why, pid);
  }
  [[nodiscard]] bool knows(pid_t pid) const {
    return std::any_of(members_.begin(), members_.end(),
                       [pid](const Member& member) { return member.pid() == pid; });
  }

  /// Has one process stopped, as the last member. Does not wait for it: several stop side by side.
  Result<void> begin(pid_t pid, std::uint32_t parent) {
    Member& member = members_.emplace_back();
    member.record.pid = static_cast<std::uint32_t>(pid);
    member.record.parent = parent;
    const auto lifeline = detail::lifeline_for(pid, worker_.options.socket);
    if (!lifeline) return lifeline.error();
    member.lifeline = *lifeline;
    auto capturer = Capturer::start(pid, *lifeline, rights_);
    if (!capturer) return capturer.error();
    member.capturer.emplace(std::move(*capturer));
    return {};
  }
  /// Waits until it stands still.
  Result<void> await_stop(Member& member) {
    const pid_t pid = member.pid();
    if (auto r = member.capturer->await_stop(); !r) return r;
    // It is what the kernel lets the caller trace, and stands still.
    if (pid == root_->pid) {
      member.entry = root_;
    } else {
      auto entry = worker_.parents.reserve_member(*root_, pid);
      if (!entry) return entry.error();
      member.entry = *entry;
    }
    if (detail::has_ended(member.entry->parent_pidfd.get())) {
      return Error(Errc::child_died, "the process").in("check the process");
    }
    const auto uid = detail::user_of(pid);
    if (!uid) return uid.error();
    member.uid = *uid;
    member.record.handler = static_cast<std::uint64_t>(member.entry->handler);
    member.record.generation = static_cast<std::uint64_t>(member.entry->generation);
    member.record.key = member.entry->key;
    return {};
  }

  Result<void> stop_root() {
    if (auto r = begin(root_->pid, 0); !r) return r;
    return await_stop(members_[0]);
  }

  /// Until a look at all of them finds nobody new: who stands still makes no more. The children of
  /// all are stopped at once, then theirs.
  Result<void> stop_all() {
    for (std::size_t before = 0; before != members_.size();) {
      before = members_.size();
      for (std::size_t i = 0; i < before; ++i) {
        if (!members_[i].capturer) continue;
        for (const std::uint32_t child : children_of(members_[i].record.pid)) {
          if (knows(static_cast<pid_t>(child))) continue;
          if (auto r = add(static_cast<pid_t>(child), i); !r) return r;
        }
      }
      for (std::size_t i = before; i < members_.size(); ++i) {
        if (!members_[i].capturer) continue;
        auto stopped = await_stop(members_[i]);
        if (!stopped) stopped = retire(members_[i], stopped.error());
        if (!stopped) return stopped;
      }
      forget_the_gone();
    }
    return {};
  }

  void forget_the_gone() {
    if (std::none_of(members_.begin(), members_.end(), [](const auto& m) { return m.is_gone(); })) {
      return;
    }
    std::vector<Member> rest;
    for (Member& member : members_) {
      if (!member.is_gone()) rest.push_back(std::move(member));
    }
    members_.swap(rest);
  }

  /// A child of a member, by its index: to be stopped, or known to have ended.
  Result<void> add(pid_t pid, std::size_t parent) {
    const auto first = capture::read_links(pid);
    if (!first || first->is_shadow()) return {};  // gone meanwhile, or no process of the program's
    if (members_.size() == descriptor::max_members) {
      return refuse("it has more than 48 processes with those that it has made");
    }
    Result<void> begun;
    if (first->is_zombie()) {
      members_.emplace_back();
      members_.back().record.pid = static_cast<std::uint32_t>(pid);
      members_.back().record.parent = static_cast<std::uint32_t>(parent);
      begun = Error(Errc::child_died);
    } else {
      begun = begin(pid, static_cast<std::uint32_t>(parent));
    }
    return begun ? begun : retire(members_.back(), begun.error());
  }

  /// One that could not be stopped is gone, or a zombie; or else `why` is the tree's.
  Result<void> retire(Member& member, const Error& why) {
    const auto now = capture::read_links(member.pid());
    if (now && !now->is_zombie()) return of(why, member.pid());
    if (member.capturer) worker_.prepares.refuse(member.lifeline.nonce);
    member.capturer.reset();
    member.entry.reset();
    const descriptor::MemberRecord was = member.record;
    member.record = {};
    if (!now) return {};  // is_gone() from now on
    member.record.pid = was.pid;
    member.record.parent = was.parent;
    member.record.flags = descriptor::member_zombie;
    member.record.status = now->status;
    return {};
  }

  /// What they are like, and how they belong together.
  Result<Seen> look() {
    Seen seen;
    std::vector<capture::ProcessLinks> links;
    std::vector<capture::HeldProcess> held;
    for (const Member& member : members_) {
      auto link = capture::read_links(member.pid());
      if (!link) return of(link.error(), member.pid());
      if (!member.capturer && link->exit_signal != SIGCHLD) {
        return of(refuse("it has ended, and its parent is not told by SIGCHLD"), member.pid());
      }
      seen.records.push_back(member.record);
      seen.records.back().exit_signal = link->exit_signal;
      links.push_back(std::move(*link));
      if (!member.capturer) continue;
      held.push_back(
          {member.pid(), member.capturer->pid(), left_open(member.pid(), worker_.table)});
    }
    if (members_.size() > 1) {
      if (auto r = capture::link_members(links, seen.records); !r) return r.error();
    }
    auto facts = capture::check_tree(held, worker_.budget_left(), lossy_);
    if (!facts) return facts.error();
    seen.facts = std::move(*facts);
    for (std::size_t i = 0, k = 0; i < members_.size(); ++i) {
      const bool has_files = members_[i].capturer.has_value();
      seen.records[i].first_file = has_files
                                       ? static_cast<std::uint32_t>(seen.facts.first_file[k++])
                                       : seen.records[i - 1].first_file;
    }
    for (std::size_t i = members_.size(); i < seen.records.size(); ++i) {  // leaders that are gone
      seen.records[i].first_file = seen.records[i - 1].first_file;
    }
    return seen;
  }

  /// Their clones; each process goes on at once. The shadows wait until they are offered.
  Result<Outcome> clone_all(Seen seen) {
    for (const Member& member : members_) {
      if (!member.capturer) continue;
      if (auto r = member.capturer->agree(); !r) return of(r.error(), member.pid());
    }
    Outcome outcome;
    std::vector<capture::Frozen> frozen;
    Result<void> failed;
    for (const Member& member : members_) {
      if (!member.capturer) continue;
      auto one = member.capturer->await_end();
      if (!one) {
        if (failed) failed = of(one.error(), member.pid());
        continue;
      }
      outcome.threads += static_cast<std::uint32_t>(one->threads.size());
      outcome.stopped_ns = std::max(outcome.stopped_ns, one->stopped_ns);
      frozen.push_back(std::move(*one));
    }
    if (!failed) return failed.error();
    outcome.processes = static_cast<std::uint32_t>(members_.size());
    outcome.dropped = seen.facts.of[0].dropped;
    offered_ = true;
    std::size_t k = 0;
    for (const Member& member : members_) {
      if (!member.capturer) continue;
      PendingPrepare pending{
          member.entry, std::move(seen.facts.of[k]), member.uid, std::move(frozen[k]), {}};
      pending.by_pid = true;
      if (k == 0 && members_.size() > 1) pending.tree = seen.records;
      ++k;
      worker_.prepares.offer(member.lifeline.nonce, std::move(pending));
    }
    return outcome;
  }

  Worker& worker_;
  const CallerRights rights_;
  const std::shared_ptr<Parent> root_;
  std::vector<Member> members_;  ///< a parent before its children
  bool lossy_ = false;
  bool offered_ = false;
};

}  // namespace mitosis::agent
