// SPDX-License-Identifier: MIT
// How prepared parents are kept, and how they end. World: user. Included by parents.hpp only.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/has_ended.hpp>
#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/fork/user/agent/shadow_reaper.hpp>
#include <mitosis/fork/user/local/prepare.hpp>

#include <iterator>
#include <vector>

namespace mitosis::agent {

/// With `mutex_` held: the root of a member's tree; null where it is no member, or has ended.
inline Parent* Parents::root_of(const Parent& parent) {
  if (parent.of_tree == Generation{}) return nullptr;
  for (const auto& [handler, other] : parents_) {
    if (other->generation == parent.of_tree) return other.get();
  }
  return nullptr;
}

/// With `mutex_` held: ends it, and with a root its members. `why` is what its prepare is told,
/// where that is still under way.
inline void Parents::drop(Entry it, Ended& ended, const Error& why) {
  const Generation tree = it->second->generation;
  drop_one(it, ended, why);
  for (auto other = parents_.begin(); other != parents_.end();) {
    other = other->second->of_tree == tree ? drop_one(other, ended, why) : std::next(other);
  }
}

/// With `mutex_` held: takes it out of sight and destroys its target and its shadow.
inline Parents::Entry Parents::drop_one(Entry it, Ended& ended, const Error& why) {
  const std::shared_ptr<Parent> parent = it->second;
  const Entry next = parents_.erase(it);
  const bool capturing = parent->state == Parent::State::capturing;
  if (capturing) {
    parent->state = Parent::State::failed;
    parent->failure = Error(why).of_handler(parent->handler);
    changed_.notify_all();
  }
  if (parent->slot != nullptr) {
    parent->slot->state.store(static_cast<std::uint32_t>(SlotState::filling));
    ::close(parent->slot->descriptor_fd);
    parent->slot->state.store(static_cast<std::uint32_t>(SlotState::empty));
    parent->slot = nullptr;
  }
  // What is still being captured may open its target later: `publish` ends that.
  if (!capturing) end_access(*parent, ended);
  return next;
}

/// No page is served any more, once `ended` has ended too. The lifeline's end would end the shadow
/// too; the signal does so when it is stuck in a fault.
inline void Parents::end_access(Parent& parent, Ended& ended) {
  if (parent.target.number != 0) {
    targets_.revoke(parent.target.number);
    ended.add(parent.target);
  }
  if (parent.shadow_pidfd) {
    ::syscall(SYS_pidfd_send_signal, parent.shadow_pidfd.get(), SIGKILL, nullptr, 0);
    if (reaper_ != nullptr) reaper_->expect(parent.shadow_pid, parent.shadow_pidfd.get());
  }
  parent.lifeline.reset();
}

inline Result<void> Parents::reclaim(HandlerId handler, const AuthKey* key, std::uint32_t uid) {
  Ended closing(*this);
  const std::lock_guard lock(mutex_);
  const auto it = parents_.find(static_cast<std::uint64_t>(handler));
  if (it == parents_.end() || it->second->of_tree != Generation{}) {
    return Error(Errc::unknown_handler).of_handler(handler).in("reclaim");
  }
  if (key != nullptr) {
    if (!(it->second->key == *key)) return Error(Errc::wrong_key).of_handler(handler).in("reclaim");
  } else if (uid != 0 && it->second->uid != uid) {
    return detail::belongs_to_another(handler).in("reclaim");
  }
  drop(it, closing);
  return {};
}

inline Result<void> Parents::renew(HandlerId handler, Generation generation) {
  const std::lock_guard lock(mutex_);
  const auto it = parents_.find(static_cast<std::uint64_t>(handler));
  if (it == parents_.end() || it->second->generation != generation) {
    return Error(Errc::lease_expired).of_handler(handler).in("renew the lease");
  }
  it->second->last_use = Clock::now();
  if (Parent* const root = root_of(*it->second); root != nullptr) root->last_use = Clock::now();
  return {};
}

inline std::vector<HandlerId> Parents::sweep(Clock::time_point now) {
  std::vector<HandlerId> reclaimed;
  Ended closing(*this);
  const std::lock_guard lock(mutex_);
  std::vector<std::uint64_t> ended, late;
  for (const auto& [id, each] : parents_) {
    const Parent& parent = *each;
    if (parent.state == Parent::State::capturing && now - parent.prepared > capture_deadline) {
      late.push_back(id);
      continue;
    }
    if (parent.of_tree != Generation{}) {
      if (root_of(parent) == nullptr) ended.push_back(id);
      continue;
    }
    if ((parent.flags & local::prepare_pinned) != 0) continue;
    const bool ends_with_it = (parent.flags & local::prepare_ends_with_caller) != 0;
    if (now - parent.last_use < lease_ && !ends_with_it) continue;
    if (!detail::has_ended(parent.parent_pidfd.get())) continue;
    reclaimed.push_back(parent.handler);
    ended.push_back(id);
  }
  for (const std::uint64_t id : late) {
    const Error why = Error(Errc::timed_out, "its capture; is the machine overloaded?");
    if (const auto it = parents_.find(id); it != parents_.end()) drop(it, closing, why);
  }
  for (const std::uint64_t id : ended) {
    if (const auto it = parents_.find(id); it != parents_.end()) drop(it, closing);
  }
  return reclaimed;
}

inline void Parents::reclaim_all() {
  Ended closing(*this);
  const std::lock_guard lock(mutex_);
  while (!parents_.empty()) drop(parents_.begin(), closing);
}

}  // namespace mitosis::agent
