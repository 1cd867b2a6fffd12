// SPDX-License-Identifier: MIT
// The steps of a prepared parent's life. World: user. Included by parents.hpp only.
#pragma once

#include <signal.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/fork/user/agent/sealed_memfd.hpp>
#include <mitosis/fork/user/agent/served_memory.hpp>
#include <mitosis/fork/user/agent/shadow_reaper.hpp>
#include <mitosis/fork/user/local/prepare.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>

namespace mitosis::agent {

inline Result<std::shared_ptr<Parent>> Parents::reserve(HandlerId handler, std::uint32_t uid,
                                                        int pid, std::string policy, bool copy,
                                                        std::uint32_t flags) {
  auto parent = std::make_shared<Parent>();
  parent->handler = handler;
  parent->generation = Generation{table_.next_generation.fetch_add(1)};
  if (::getrandom(parent->key.bytes, sizeof parent->key.bytes, 0) !=
      ssize_t{sizeof parent->key.bytes}) {
    return Error(Errc::system_call_failed, "getrandom", errno).in("draw an auth key");
  }
  parent->uid = uid;
  parent->pid = pid;
  parent->policy = std::move(policy);
  parent->copy = copy;
  parent->for_device = for_device_;
  if (observer_ != nullptr) parent->room = observer_->image_room();
  parent->flags = flags;
  parent->parent_pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  parent->prepared = parent->last_use = Clock::now();
  const std::lock_guard lock(mutex_);
  if (parents_.size() >= max_parents) {
    return Error(Errc::limit_exceeded, "4096 parents are prepared on this machine; reclaim some")
        .in("prepare");
  }
  if (uid != 0 && std::count_if(parents_.begin(), parents_.end(), [uid](const auto& each) {
                    return each.second->uid == uid;
                  }) >= std::ptrdiff_t{max_parents_of_a_user}) {
    return Error(Errc::limit_exceeded,
                 "this user has 1024 prepared parents on this machine, his share; reclaim some")
        .in("prepare");
  }
  auto& entry = parents_[static_cast<std::uint64_t>(handler)];
  if (entry != nullptr && entry->state != Parent::State::failed) {
    return Error(Errc::handler_in_use).of_handler(handler).in("prepare");
  }
  entry = parent;
  return parent;
}

inline Result<std::shared_ptr<Parent>> Parents::reserve_member(const Parent& root, int pid) {
  for (;;) {
    std::uint64_t id = 0;
    if (::getrandom(&id, sizeof id, 0) != ssize_t{sizeof id}) {
      return Error(Errc::system_call_failed, "getrandom", errno).in("prepare");
    }
    auto member = reserve(HandlerId{id}, root.uid, pid, root.policy, root.copy, root.flags);
    if (!member && member.code() == Errc::handler_in_use) continue;
    if (member) (*member)->of_tree = root.generation;
    return member;
  }
}

inline void Parents::publish(const std::shared_ptr<Parent>& parent) {
  Ended closing(*this);
  const std::lock_guard lock(mutex_);
  const auto it = parents_.find(static_cast<std::uint64_t>(parent->handler));
  if (it == parents_.end() || it->second != parent) {  // reclaimed meanwhile
    end_access(*parent, closing);
    return;
  }
  ParentSlot* slot = table_.take_parent();
  auto memfd = sealed_memfd("mitosis-descriptor", Bytes(*parent->descriptor));
  if (slot == nullptr || !memfd) {
    // Served all the same; only a worker's death would lose it.
    if (slot != nullptr) slot->state.store(0);
    spdlog::warn("handler {} will not survive a restart of the worker",
                 static_cast<std::uint64_t>(parent->handler));
  } else {
    slot->uid = parent->uid;
    slot->pid = static_cast<std::uint32_t>(parent->pid);
    slot->flags = parent->flags;
    slot->of_tree = parent->of_tree;
    slot->shadow_pid = static_cast<std::uint32_t>(parent->shadow_pid);
    slot->parent_pidfd = parent->parent_pidfd.get();
    slot->shadow_pidfd = parent->shadow_pidfd.get();
    slot->lifeline = parent->lifeline.get();
    slot->image_fd = parent->image_fd.get();
    slot->image_offset = parent->extent ? parent->extent->offset : ParentSlot::whole_file;
    slot->image_bytes = parent->image_pages << page_shift;
    slot->shared_fd = parent->shared_fd.get();
    slot->descriptor_fd = memfd->release();
    slot->handler = parent->handler;
    slot->generation = parent->generation;
    slot->key = parent->key;
    slot->target = parent->target;
    slot->prepared_ns = static_cast<std::uint64_t>(parent->prepared.time_since_epoch().count());
    std::snprintf(slot->policy, sizeof slot->policy, "%s", parent->policy.c_str());
    slot->state.store(static_cast<std::uint32_t>(SlotState::live), std::memory_order_release);
    parent->slot = slot;
  }
  parent->state = Parent::State::ready;
  if (observer_ != nullptr) observer_->on_open(*parent);
  changed_.notify_all();
}

inline void Parents::abandon(const std::shared_ptr<Parent>& parent) {
  Ended closing(*this);
  const std::lock_guard lock(mutex_);
  const auto it = parents_.find(static_cast<std::uint64_t>(parent->handler));
  if (it != parents_.end() && it->second == parent) drop(it, closing);
  parent->state = Parent::State::failed;
  if (reaper_ != nullptr) reaper_->look_around();  // its capture may have left a shadow half-made
  changed_.notify_all();
}

inline void Parents::fail(const std::shared_ptr<Parent>& parent, Error why) {
  const std::lock_guard lock(mutex_);
  parent->state = Parent::State::failed;
  parent->failure = why;
  changed_.notify_all();
}

inline Result<std::shared_ptr<Parent>> Parents::get(HandlerId handler, const AuthKey* key,
                                                    Clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  const auto it = parents_.find(static_cast<std::uint64_t>(handler));
  if (it == parents_.end()) {
    return Error(Errc::unknown_handler).of_handler(handler).in("look up the parent");
  }
  std::shared_ptr<Parent> parent = it->second;
  if (key != nullptr && !(parent->key == *key)) {
    const bool none = *key == AuthKey{};
    if (!none || !detail::is_keyless(*parent)) {
      return Error(Errc::wrong_key, none ? "none was given, or one of zeros alone, and it was "
                                           "prepared with one (--key-file, "
                                           "$MITOSIS_KEY)"
                                         : "")
          .of_handler(handler)
          .in("look up the parent");
    }
  }
  const bool settled = changed_.wait_until(
      lock, deadline, [&] { return parent->state != Parent::State::capturing; });
  if (!settled) {
    return Error(Errc::timed_out, "its prepare has not ended")
        .of_handler(handler)
        .in("look up the parent");
  }
  if (parent->state == Parent::State::failed) return Error(parent->failure).of_handler(handler);
  parent->last_use = Clock::now();
  if (Parent* const root = root_of(*parent); root != nullptr) root->last_use = parent->last_use;
  return parent;
}

inline Result<std::shared_ptr<Parent>> Parents::get_as(HandlerId handler, std::uint32_t uid,
                                                       Clock::time_point deadline) {
  auto parent = get(handler, nullptr, deadline);
  if (parent && uid != 0 && (*parent)->uid != uid && !detail::is_keyless(**parent)) {
    return detail::belongs_to_another(handler).in("look up the parent");
  }
  return parent;
}

inline std::vector<std::shared_ptr<Parent>> Parents::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Parent>> all;
  all.reserve(parents_.size());
  for (const auto& [handler, parent] : parents_) all.push_back(parent);
  return all;
}

inline void Parents::adopt(ImageRoom* kept) {
  const std::lock_guard lock(mutex_);
  for (ParentSlot& slot : table_.parents) {
    if (slot.state.load(std::memory_order_acquire) != static_cast<std::uint32_t>(SlotState::live)) {
      continue;
    }
    auto parent = std::make_shared<Parent>();
    parent->handler = slot.handler;
    parent->generation = slot.generation;
    parent->key = slot.key;
    parent->uid = slot.uid;
    parent->pid = static_cast<int>(slot.pid);
    parent->shadow_pid = static_cast<int>(slot.shadow_pid);
    parent->policy = slot.policy;
    parent->flags = slot.flags;
    parent->of_tree = slot.of_tree;
    parent->copy = slot.image_fd >= 0;
    parent->parent_pidfd = UniqueFd(slot.parent_pidfd);
    parent->shadow_pidfd = UniqueFd(slot.shadow_pidfd);
    parent->lifeline = UniqueFd(slot.lifeline);
    parent->image_fd = UniqueFd(slot.image_fd);
    if (observer_ != nullptr) parent->room = observer_->image_room();
    ImageRoom* const room = parent->room != nullptr ? parent->room : kept;
    if (parent->copy && room != nullptr && slot.image_offset != ParentSlot::whole_file) {
      parent->extent = room->adopt(slot.image_offset, slot.image_bytes);
    }
    parent->shared_fd = UniqueFd(slot.shared_fd);
    parent->prepared = Clock::time_point(Clock::duration(slot.prepared_ns));
    parent->last_use = Clock::now();
    parent->slot = &slot;
    auto bytes = read_all(slot.descriptor_fd);
    auto target = bytes ? serve(targets_, *parent, *bytes, slot.target, 0)
                        : Result<std::uint64_t>(bytes.error());
    if (!target) {
      spdlog::error("handler {} is lost with its worker: {}",
                    static_cast<std::uint64_t>(slot.handler), describe(target.error()));
      slot.state.store(0);
      continue;
    }
    parent->target = slot.target;
    parent->pages = *target;
    parent->descriptor =
        std::make_shared<const std::vector<std::uint8_t>>(std::move(bytes).value());
    parent->state = Parent::State::ready;
    if (observer_ != nullptr) observer_->on_open(*parent);
    parents_.emplace(static_cast<std::uint64_t>(slot.handler), std::move(parent));
  }
  if (observer_ != nullptr) observer_->on_adopted();
}

}  // namespace mitosis::agent
