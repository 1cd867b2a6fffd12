// SPDX-License-Identifier: MIT
// Pager: children that come and go. World: user. Included by pager.hpp only.
#pragma once

#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/agent/pager.hpp>
#include <mitosis/fork/user/agent/proc_children.hpp>
#include <mitosis/fork/user/restore/layout.hpp>

#include <algorithm>
#include <chrono>
#include <future>
#include <thread>

namespace mitosis::agent {

// ---- children come ------------------------------------------------------------------------------

inline Result<void> Pager::adopt(const Newcomer& newcomer, bool resumed) {
  return ask([&] { return admit(newcomer, resumed); });
}

inline Result<void> Pager::admit(const Newcomer& newcomer, bool resumed) {
  auto entry = std::make_unique<ServedChild>();
  entry->number = next_number_++;
  entry->slot = newcomer.slot;
  entry->cache = newcomer.cache;
  entry->memfd = newcomer.memfd;
  entry->child = make_child(newcomer, entry->number);
  if (entry->child == nullptr) {
    return Error(Errc::policy_not_compiled, newcomer.slot->policy).in("serve a child");
  }
  Errc e = entry->child->load(newcomer.image->view());
  if (e == Errc::ok) e = entry->origin.load(newcomer.image->view());
  std::uint32_t vma_index = 0;
  for (const descriptor::VmaRecord vma : newcomer.image->view().vmas()) {
    const std::uint32_t i = vma_index++;
    if (i >= ChildSlot::max_carried || (newcomer.slot->carried[i / 64] >> (i % 64) & 1) == 0) {
      continue;
    }
    const descriptor::RunRecord run = restore::carried_run(vma);
    const PageRange pages{PageNumber{run.page}, run.count};
    if (e == Errc::ok) e = entry->child->carry(pages);
    if (e == Errc::ok) e = entry->origin.add(pages);
  }
  if (e == Errc::ok && !resumed) e = replay(*entry);
  if (e != Errc::ok) return Error(e).in("serve a child");
  newcomer.slot->pager = index_;
  newcomer.slot->state.store(static_cast<std::uint32_t>(SlotState::live),
                             std::memory_order_release);
  ServedChild& kept = *entry;
  entries_.emplace(kept.number, std::move(entry));
  watch(kept);
  if (!resumed) {
    kept.child->memory().uffd().wake_all();
    if (kept.child->eager()) kept.child->start_eager();
  }
  after(kept);
  return {};
}

inline std::unique_ptr<PagedChild> Pager::make_child(const Newcomer& newcomer,
                                                     std::uint32_t number) {
  const ChildSlot& slot = *newcomer.slot;
  const bool dct = newcomer.policy.transport == TransportKind::dct;
  PagedChildParts parts{
      .policy = newcomer.policy,
      .slot = number,
      .deadlines = options_.deadlines,
      .memory = UserMemory(slot.uffd, slot.poison != 0, newcomer.memfd, newcomer.cache.get()),
      .cache = newcomer.cache.get(),
      .waiters = &nobody_,
      .fabric = dct ? &dct_ : &rc_,
      .fallback = &fallback_,
      .landings = &landings_,
      .image = newcomer.image,
  };
  parts.memory.set_pidfd(slot.pidfd);
  if (newcomer.cache != nullptr) {
    auto& [cache, waiters] = waiters_[newcomer.cache.get()];
    if (waiters == nullptr || cache.expired()) {
      cache = newcomer.cache;
      waiters = std::make_unique<CacheWaiters>();
    }
    parts.waiters = waiters.get();
  }
  return make_paged_child(std::move(parts));
}

/// What the child did to its address space under earlier workers.
inline Errc Pager::replay(ServedChild& entry) {
  ChildSlot& slot = *entry.slot;
  if (!slot.log.complete()) return Errc::limit_exceeded;
  for (std::uint32_t i = 0; i < slot.log.count(); ++i) {
    const AddressSpaceEvent event = slot.log.at(i);
    if (event.kind == EventKind::none) return Errc::limit_exceeded;
    (void)carry_out(entry, event);
  }
  // An event that was read but not yet carried out. A fault needs nothing: it comes again.
  const bool fork = slot.pending.event == UFFD_EVENT_FORK;
  const bool done = fork ? table_.has_child_with(static_cast<int>(slot.pending.arg.fork.ufd))
                         : slot.log.count() != slot.pending_at;
  if (slot.pending.event != 0 && slot.pending.event != UFFD_EVENT_PAGEFAULT && !done) {
    take_event(entry);
  }
  slot.pending.event = 0;
  return Errc::ok;
}

inline void Pager::watch(ServedChild& entry) {
  const auto add = [&](int fd, Source source) {
    if (fd < 0) return;
    epoll_event event{EPOLLIN, {.u64 = static_cast<std::uint64_t>(source) << 32 | entry.number}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  };
  add(entry.slot->uffd, Source::uffd);
  add(entry.slot->pidfd, Source::pidfd);
}

/// Null where there is none, or no more.
inline ServedChild* Pager::find(std::uint64_t id) {
  for (const auto& [number, entry] : entries_) {
    if (entry->slot->id == id && !entry->ended) return entry.get();
  }
  return nullptr;
}

inline Result<void> Pager::bring_all(std::uint64_t id, Time deadline) {
  std::future<Result<void>> told;
  const bool found = ask([&] {
    ServedChild* const entry = find(id);
    if (entry == nullptr) return false;
    entry->all_present = std::make_unique<ServedChild::Waiting>();
    told = entry->all_present->told.get_future();
    entry->child->start_eager();
    after(*entry);
    return true;
  });
  if (!found) return Error(Errc::child_died).in("bring all pages");
  const auto now = static_cast<std::uint64_t>(tcp::monotonic_now());
  const auto by = static_cast<std::uint64_t>(deadline);
  const auto limit =
      std::chrono::nanoseconds(by > now ? std::min(by - now, ~std::uint64_t{0} >> 1) : 0);
  if (told.wait_for(limit) != std::future_status::ready) {
    drop(id);  // which answers the promise
    return Error(Errc::timed_out).in("bring all pages");
  }
  Result<void> result = told.get();
  if (!result) return result.error().in("bring all pages");
  return result;
}

inline void Pager::foresee(std::uint64_t id) {
  tell([this, id] {
    ServedChild* const entry = find(id);
    if (entry == nullptr) return;
    entry->known = working_sets_.of(entry->child->image()->name());
    entry->child->foresee(*entry->known, tcp::monotonic_now() + options_.first_ns);
    after(*entry);
  });
}

// ---- children go --------------------------------------------------------------------------------

inline void Pager::drop(std::uint64_t id) {
  ask([&] {
    if (ServedChild* const entry = find(id)) end(*entry);
    return 0;
  });
}

inline void Pager::end(ServedChild& entry) {
  if (entry.ended) return;
  entry.ended = true;
  entry.child->close();
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry.slot->uffd, nullptr);
  if (entry.slot->pidfd >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, entry.slot->pidfd, nullptr);
  dying_.push_back(entry.number);
  after(entry);
}

/// Reads that are out may still write into memory that the child holds: it waits for them.
inline void Pager::bury_the_dead() {
  std::erase_if(dying_, [this](std::uint32_t number) {
    const auto it = entries_.find(number);
    ServedChild& entry = *it->second;
    if (!entry.child->idle()) return false;
    if (entry.timer != Time::never) timers_.erase({entry.timer, number});
    ChildSlot& slot = *entry.slot;
    // First, for a worker that takes over must not believe the numbers of closed descriptors.
    slot.state.store(static_cast<std::uint32_t>(SlotState::filling));
    table_.ended_children.add(slot);
    for (const int fd :
         {slot.uffd, slot.pidfd, slot.descriptor_fd, slot.cache_fd, slot.cache_index_fd}) {
      if (fd >= 0) ::close(fd);
    }
    entry.child->report(book_);
    slot.log.reset();
    table_.release(slot);
    entries_.erase(it);
    return true;
  });
}

/// A process that a child forked and that has not faulted yet has no pid that we know. Its pages
/// that only an ancestor has are poisoned, one by one, because present ones end a longer range.
inline void Pager::end_all() {
  ask([&] {
    for (const auto& [number, served] : entries_) {
      if (served->slot->pidfd >= 0) {
        ::syscall(SYS_pidfd_send_signal, served->slot->pidfd, SIGKILL, nullptr, 0);
        continue;
      }
      const Uffd uffd = served->child->memory().uffd();
      served->child->snapshot([&](PageRange pages, std::uint16_t, PageNumber, bool) {
        for (PageNumber page = pages.first; page < pages.end(); page = page + 1) {
          (void)uffd.poison({page, 1});
        }
      });
    }
    return 0;
  });
}

/// The one that `pid` has of the address spaces that `parent_pid` has forked. Where it has forked
/// other processes whose pid is not known yet, their order tells; null while that is not clear.
inline ServedChild* Pager::find_fork(std::uint32_t parent_pid, std::uint32_t pid, bool& unclear) {
  std::vector<ServedChild*> unknown;
  std::set<std::uint32_t> known;
  for (const auto& [number, parent] : entries_) {
    if (parent->slot->pid != parent_pid || parent->ended) continue;
    for (const auto& [other, entry] : entries_) {
      if (entry->slot->forked_from != parent->slot->id || entry->ended) continue;
      if (entry->slot->pid == pid) return entry.get();  // it has faulted already
      if (entry->slot->pid != 0) {
        known.insert(entry->slot->pid);
      } else if (entry->child->memory().uffd().alive()) {
        unknown.push_back(entry.get());
      }
    }
  }
  if (unknown.size() < 2) return unknown.empty() ? nullptr : unknown.front();
  std::vector<std::uint32_t> processes = children_of(parent_pid);
  std::erase_if(processes, [&](std::uint32_t child) { return known.contains(child); });
  const auto at = std::find(processes.begin(), processes.end(), pid);
  if (at == processes.end() || processes.size() != unknown.size()) {
    unclear = true;
    return nullptr;
  }
  std::sort(unknown.begin(), unknown.end(),
            [](const ServedChild* a, const ServedChild* b) { return a->number < b->number; });
  return unknown[static_cast<std::size_t>(at - processes.begin())];
}

inline Result<Ancestry> Pager::ancestry_of_fork(std::uint32_t parent_pid, std::uint32_t pid) {
  constexpr int tries = 50;  // a fork that is under way is soon done
  for (int i = 0; i < tries; ++i) {
    bool unclear = false;
    Ancestry ancestry = look_for_fork(parent_pid, pid, unclear);
    if (ancestry.image != nullptr || !unclear) return ancestry;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return Error(Errc::unsupported_process, "it forks other processes at the same time")
      .in("tell the shadow from them");
}

inline Ancestry Pager::look_for_fork(std::uint32_t parent_pid, std::uint32_t pid, bool& unclear) {
  return ask([&] {
    Ancestry ancestry;
    ServedChild* const found = find_fork(parent_pid, pid, unclear);
    if (found == nullptr) return ancestry;
    if (found->slot->pid == 0) {
      found->slot->pid = pid;
      found->slot->pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
      epoll_event event{EPOLLIN,
                        {.u64 = static_cast<std::uint64_t>(Source::pidfd) << 32 | found->number}};
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, found->slot->pidfd, &event);
    }
    ancestry.image = found->child->image();
    found->child->snapshot(
        [&](PageRange pages, std::uint16_t owner, PageNumber source, bool cached) {
          ancestry.runs.push_back({pages, owner, source, cached});
        });
    return ancestry;
  });
}

}  // namespace mitosis::agent
