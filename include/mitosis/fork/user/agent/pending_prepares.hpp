// SPDX-License-Identifier: MIT
// PendingPrepares: brings the two halves of a prepare together: the parent's request and its
// shadow's report, which come on two connections in either order. World: user.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/fork/user/capture/parent_check.hpp>
#include <mitosis/fork/user/capture/trace/freeze.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// A checked parent that waits for its shadow.
struct PendingPrepare {
  std::shared_ptr<Parent> parent;
  capture::ParentFacts facts;
  std::uint32_t uid = 0;                       ///< its own, and so its shadow's
  capture::Frozen frozen;                      ///< empty where it prepares itself
  std::vector<descriptor::MemberRecord> tree;  ///< of a tree's root: all members
  bool by_pid = false;                         ///< it did not call prepare
};

/// Thread-safe. Keyed by the nonce that the parent drew.
class PendingPrepares {
 public:
  /// The parent's side: the check has succeeded.
  void offer(std::uint64_t nonce, PendingPrepare pending) {
    const std::lock_guard lock(mutex_);
    pending_.insert_or_assign(nonce, std::move(pending));
    changed_.notify_all();
  }
  /// The parent's side: the check has failed, its shadow need not wait for it.
  void refuse(std::uint64_t nonce) {
    const std::lock_guard lock(mutex_);
    pending_.insert_or_assign(nonce, PendingPrepare{});
    changed_.notify_all();
  }
  /// The shadow's side; it may be quicker than the check. timed_out: no parent wants it, which is
  /// also so where its prepare was refused. `parent_pid` keeps a stranger from playing the shadow.
  Result<PendingPrepare> take(std::uint64_t nonce, std::uint32_t uid, Clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    const bool came = changed_.wait_until(lock, deadline, [&] { return pending_.contains(nonce); });
    if (!came) return Error(Errc::timed_out, "no prepare with this nonce").in("take a shadow");
    const auto it = pending_.find(nonce);
    if (it->second.parent == nullptr) {
      pending_.erase(it);
      return Error(Errc::shutting_down, "the prepare was refused").in("take a shadow");
    }
    if (it->second.uid != uid) {
      return Error(Errc::not_permitted, "another user prepares this").in("take a shadow");
    }
    PendingPrepare pending = std::move(it->second);
    pending_.erase(it);
    return pending;
  }
  /// Forgets prepares whose shadow never came. A parent kills a refused shadow, mostly before it
  /// comes: their nonces are only kept until there are many.
  void sweep() {
    const std::lock_guard lock(mutex_);
    if (pending_.size() > 1024) {
      std::erase_if(pending_, [](const auto& entry) { return entry.second.parent == nullptr; });
    }
    std::erase_if(pending_, [](const auto& entry) {
      const auto& parent = entry.second.parent;
      return parent != nullptr && parent->state == Parent::State::failed;
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, PendingPrepare> pending_;
};

}  // namespace mitosis::agent
