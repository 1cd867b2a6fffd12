// SPDX-License-Identifier: MIT
// Pager: its loop, and children that come and go. World: user. Included by pager.hpp only.
#pragma once

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/pager.hpp>
#include <mitosis/fork/user/restore/layout.hpp>

#include <algorithm>
#include <chrono>

namespace mitosis::agent {

inline Pager::Pager(std::uint32_t index, StateTable& table, Options options,
                    std::unique_ptr<TcpFabric<RC>> rc, std::unique_ptr<TcpFabric<DCT>> dct,
                    FallbackReader::Call fallback)
    : index_(index),
      table_(table),
      options_(options),
      rc_(std::move(rc)),
      dct_(std::move(dct)),
      fallback_(std::move(fallback)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  const auto add = [this](int fd, Source source) {
    epoll_event event{EPOLLIN, {.u64 = static_cast<std::uint64_t>(source) << 32}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  };
  add(wake_.get(), Source::commands);
  add(rc_->wait_fd(), Source::rc);
  add(dct_->wait_fd(), Source::dct);
  add(fallback_.wait_fd(), Source::fallback);
}

inline void Pager::start() {
  thread_ = std::thread([this] {
    ::prctl(PR_SET_NAME, "mitosis-pager");
    run();
  });
}

inline Pager::~Pager() {
  stopping_.store(true);
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

/// Runs `body` on the pager's thread and waits for its result.
template <class Body>
auto Pager::ask(Body body) -> decltype(body()) {
  std::packaged_task<decltype(body())()> task(std::move(body));
  auto result = task.get_future();
  {
    const std::lock_guard lock(mutex_);
    commands_.emplace_back([&task] { task(); });
  }
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
  return result.get();
}

// ---- the loop -----------------------------------------------------------------------------------

inline void Pager::run() {
  Time last_work = tcp::monotonic_now();
  next_sweep_ = last_work + options_.sweep_ns;
  while (!stopping_.load(std::memory_order_relaxed)) {
    Time now = tcp::monotonic_now();
    bool worked = poll(*rc_);
    worked = poll(*dct_) || worked;
    int timeout = 0;
    if (worked) last_work = now;
    if (!worked && now > last_work + options_.spin_ns) {
      Time next = std::min({rc_->next_deadline(), dct_->next_deadline(), next_sweep_});
      if (!timers_.empty()) next = std::min(next, timers_.begin()->first);
      const auto left = static_cast<std::uint64_t>(next) - static_cast<std::uint64_t>(now);
      timeout =
          next <= now ? 0 : static_cast<int>(std::min<std::uint64_t>(left / 1'000'000 + 1, 1000));
    }
    epoll_event events[64];
    const int count = ::epoll_wait(epoll_.get(), events, 64, timeout);
    for (int i = 0; i < count; ++i) on_event(events[i].data.u64);
    if (count > 0) last_work = now = tcp::monotonic_now();
    if ((!timers_.empty() && timers_.begin()->first <= now) || now >= next_sweep_) on_time(now);
    if (!dying_.empty()) bury_the_dead();
  }
}

inline void Pager::on_event(std::uint64_t data) {
  const auto number = static_cast<std::uint32_t>(data);
  switch (static_cast<Source>(data >> 32)) {
    case Source::rc:
    case Source::dct:
      return;  // polled at the top of the loop
    case Source::fallback:
      for (const ReadCompletion& completion : fallback_.take()) complete(completion);
      return;
    case Source::commands: {
      std::uint64_t count = 0;
      (void)!::read(wake_.get(), &count, sizeof count);
      std::vector<std::function<void()>> commands;
      {
        const std::lock_guard lock(mutex_);
        commands.swap(commands_);
      }
      for (const auto& command : commands) command();
      return;
    }
    case Source::uffd:
      if (const auto it = entries_.find(number); it != entries_.end()) read_events(*it->second);
      return;
    case Source::pidfd:
      if (const auto it = entries_.find(number); it != entries_.end()) end(*it->second);
      return;
  }
}

template <class FabricType>
bool Pager::poll(FabricType& fabric) {
  ReadCompletion done[64];
  bool any = false;
  while (const std::size_t count = fabric.poll(done, tcp::monotonic_now())) {
    any = true;
    for (std::size_t i = 0; i < count; ++i) complete(done[i]);
    if (count < 64) break;
  }
  return any;
}

inline void Pager::complete(const ReadCompletion& completion) {
  const auto it = entries_.find(Cookie::unpack(completion.cookie).child);
  if (it == entries_.end()) return;
  it->second->child->on_completion(completion.cookie, completion.status);
  after(*it->second);
}

/// After anything was done with a child: its next timer, its figures, its end.
inline void Pager::after(ServedChild& entry) {
  const Time next = entry.child->next_deadline();
  if (next != entry.timer) {
    if (entry.timer != Time::never) timers_.erase({entry.timer, entry.number});
    if (next != Time::never) timers_.emplace(next, entry.number);
    entry.timer = next;
  }
  const ChildStats& stats = entry.child->stats();
  ChildSlot& slot = *entry.slot;
  slot.faults.store(stats.faults, std::memory_order_relaxed);
  slot.pages_fetched.store(stats.fetched, std::memory_order_relaxed);
  slot.bytes_fetched.store(stats.bytes, std::memory_order_relaxed);
  slot.cached.store(stats.cached, std::memory_order_relaxed);
  slot.zeros.store(stats.zeros, std::memory_order_relaxed);
  slot.fallbacks.store(stats.fallbacks, std::memory_order_relaxed);
  if (entry.all_present != nullptr) {
    const Errc failed = entry.child->eager_error();
    if (failed != Errc::ok || entry.child->all_present() || entry.ended) {
      entry.all_present->told.set_value(failed != Errc::ok ? Result<void>(Error(failed))
                                        : entry.ended      ? Result<void>(Error(Errc::child_died))
                                                           : Result<void>());
      entry.all_present.reset();
    }
  }
  if (entry.child->closed() && !entry.ended) end(entry);
}

inline void Pager::on_time(Time now) {
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto it = entries_.find(timers_.begin()->second);
    ServedChild& entry = *it->second;
    timers_.erase(timers_.begin());
    entry.timer = Time::never;
    entry.child->on_time(now);
    after(entry);
  }
  if (now >= next_sweep_) {
    next_sweep_ = now + options_.sweep_ns;
    sweep();
  }
}

/// A dead address space says nothing on its userfaultfd, and the pid of a forked process is only
/// known once it has faulted; execve(2) ends an address space without ending the process.
inline void Pager::sweep() {
  for (const auto& [number, entry] : entries_) {
    if (!entry->ended && !entry->child->memory().uffd().alive()) end(*entry);
  }
  std::erase_if(waiters_, [](const auto& w) { return w.second.first.expired(); });
}

// ---- children come ------------------------------------------------------------------------------

inline Result<void> Pager::adopt(Newcomer newcomer, bool resumed) {
  return ask(
      [this, n = std::move(newcomer), resumed]() mutable { return admit(std::move(n), resumed); });
}

inline Result<void> Pager::admit(Newcomer newcomer, bool resumed) {
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
      .fabric = dct ? AnyFabric(*dct_) : AnyFabric(*rc_),
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
  if (slot.pending.event != 0 && slot.pending.event != UFFD_EVENT_PAGEFAULT &&
      (slot.log.count() == slot.pending_at || slot.pending.event == UFFD_EVENT_FORK)) {
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

inline Result<void> Pager::bring_all(std::uint64_t id, Time deadline) {
  std::future<Result<void>> told;
  const bool found = ask([&] {
    for (const auto& [number, entry] : entries_) {
      if (entry->slot->id != id || entry->ended) continue;
      entry->all_present = std::make_unique<ServedChild::Waiting>();
      told = entry->all_present->told.get_future();
      entry->child->start_eager();
      after(*entry);
      return true;
    }
    return false;
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

// ---- children go --------------------------------------------------------------------------------

inline void Pager::drop(std::uint64_t id) {
  ask([&] {
    for (const auto& [number, entry] : entries_) {
      if (entry->slot->id == id && !entry->ended) end(*entry);
    }
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
    for (const int fd :
         {slot.uffd, slot.pidfd, slot.descriptor_fd, slot.cache_fd, slot.cache_index_fd}) {
      if (fd >= 0) ::close(fd);
    }
    slot.log.reset();
    slot.state.store(static_cast<std::uint32_t>(SlotState::empty), std::memory_order_release);
    entries_.erase(it);
    return true;
  });
}

inline void Pager::forget(MachineId machine) {
  ask([&] {
    rc_->forget(machine);
    dct_->forget(machine);
    return 0;
  });
}

inline Ancestry Pager::ancestry_of_fork(std::uint32_t parent_pid, std::uint32_t pid) {
  return ask([&] {
    Ancestry ancestry;
    ServedChild* newest = nullptr;
    for (const auto& [number, parent] : entries_) {
      if (parent->slot->pid != parent_pid || parent->ended) continue;
      for (const auto& [other, entry] : entries_) {
        if (entry->slot->forked_from != parent->slot->id || entry->slot->pid != 0) continue;
        if (newest == nullptr || entry->number > newest->number) newest = entry.get();
      }
    }
    if (newest == nullptr) return ancestry;
    newest->slot->pid = pid;
    newest->slot->pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    epoll_event event{EPOLLIN,
                      {.u64 = static_cast<std::uint64_t>(Source::pidfd) << 32 | newest->number}};
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, newest->slot->pidfd, &event);
    ancestry.image = newest->child->image();
    newest->child->snapshot(
        [&](PageRange pages, std::uint16_t owner, PageNumber source, bool cached) {
          ancestry.runs.push_back({pages, owner, source, cached});
        });
    return ancestry;
  });
}

}  // namespace mitosis::agent
