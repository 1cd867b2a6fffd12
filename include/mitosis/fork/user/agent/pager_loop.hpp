// SPDX-License-Identifier: MIT
// Pager: its thread's loop. World: user. Included by pager.hpp only.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/pager.hpp>

#include <algorithm>
#include <cerrno>
#include <future>
#include <string>
#include <utility>

namespace mitosis::agent {

inline Pager::Pager(std::uint32_t index, StateTable& table, Options options, Fabrics fabrics,
                    FallbackReader::Call fallback, ProfileBook& book)
    : index_(index),
      table_(table),
      options_(options),
      landings_(fabrics.registrar),
      rc_(std::move(fabrics.rc)),
      dct_(std::move(fabrics.dct)),
      fallback_(std::move(fallback)),
      book_(book),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      deaf_(epoll_ ? 0 : errno) {
  // A pipe, not an eventfd: its writer is taken to sleep next, so the pager's thread wakes up on
  // the writer's core where that is cheaper than waking another one.
  if (int ends[2]; ::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) {
    wake_ = UniqueFd(ends[0]);
    waker_ = UniqueFd(ends[1]);
  } else if (deaf_ == 0) {
    deaf_ = errno;
  }
  const auto add = [this](int fd, Source source) {
    epoll_event event{EPOLLIN, {.u64 = static_cast<std::uint64_t>(source) << 32}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0 && deaf_ == 0) deaf_ = errno;
  };
  add(wake_.get(), Source::commands);
  add(rc_.wait_fd(), Source::rc);
  add(dct_.wait_fd(), Source::dct);
  add(fallback_.wait_fd(), Source::fallback);
}

inline Result<void> Pager::start() {
  if (deaf_ != 0) {
    const bool limit =
        deaf_ == EMFILE || deaf_ == ENFILE || deaf_ == EBADF;  // EBADF: its reader has none
    return Error(limit ? Errc::limit_exceeded : Errc::system_call_failed,
                 limit ? "too few files may be open; raise `ulimit -n`" : "epoll or pipe2",
                 limit ? EMFILE : deaf_)
        .in("start a pager");
  }
  thread_ = std::thread([this] {
    ::prctl(PR_SET_NAME, "mitosis-pager");
    run();
  });
  return {};
}

inline Pager::~Pager() {
  stopping_.store(true);
  wake();
  if (thread_.joinable()) thread_.join();
}

/// Runs `body` on the pager's thread and waits for its result.
template <class Body>
auto Pager::ask(Body body) -> decltype(body()) {
  std::packaged_task<decltype(body())()> task(std::move(body));
  auto result = task.get_future();
  tell([&task] { task(); });
  return result.get();
}

/// Runs `command` on the pager's thread, some time later.
inline void Pager::tell(std::function<void()> command) {
  {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
  }
  wake();
}

inline void Pager::wake() noexcept {
  const char any = 0;
  (void)!::write(waker_.get(), &any, 1);  // a full pipe wakes as well
}

inline void Pager::report(ProfileBook& book) {
  ask([&] {
    for (const auto& [number, served] : entries_) served->child->report(book);
    return 0;
  });
}

inline void Pager::forget(MachineId machine) {
  ask([&] {
    rc_.forget(machine);
    dct_.forget(machine);
    return 0;
  });
}

// ---- the loop -----------------------------------------------------------------------------------

/// Sleeps whenever there is nothing to do. Looking for the answer instead would keep it away: the
/// kernel wakes the reader of a socket on its writer's core, since who has asked mostly sleeps
/// next, and so the thread that answers waits for this one to stop looking. (Measured where two
/// cores share no cache and both machines are one: 2.9 times the floor of a fault against 1.3.)
inline void Pager::run() {
  next_sweep_ = tcp::monotonic_now() + options_.sweep_ns;
  while (!stopping_.load(std::memory_order_relaxed)) {
    Time now = tcp::monotonic_now();
    // An idle fabric costs no system call: its connections' ends come through epoll.
    bool worked = (rc_.busy() || rc_ready_) && poll(rc_);
    worked = ((dct_.busy() || dct_ready_) && poll(dct_)) || worked;
    rc_ready_ = dct_ready_ = false;
    epoll_event events[64];
    const int count = ::epoll_wait(epoll_.get(), events, 64, worked ? 0 : patience_ms(now));
    for (int i = 0; i < count; ++i) on_event(events[i].data.u64);
    if (count > 0) now = tcp::monotonic_now();
    if ((!timers_.empty() && timers_.begin()->first <= now) || now >= next_sweep_) on_time(now);
    if (!dying_.empty()) bury_the_dead();
  }
}

/// Milliseconds until something must be done without an event, at most a second.
inline int Pager::patience_ms(Time now) const noexcept {
  Time next = std::min({rc_.next_deadline(), dct_.next_deadline(), next_sweep_});
  if (!timers_.empty()) next = std::min(next, timers_.begin()->first);
  if (next <= now) return 0;
  const auto left = static_cast<std::uint64_t>(next) - static_cast<std::uint64_t>(now);
  return static_cast<int>(std::min<std::uint64_t>(left / 1'000'000 + 1, 1000));
}

inline void Pager::on_event(std::uint64_t data) {
  const auto number = static_cast<std::uint32_t>(data);
  switch (static_cast<Source>(data >> 32)) {
    case Source::rc:
      rc_ready_ = true;  // polled at the top of the loop
      return;
    case Source::dct:
      dct_ready_ = true;
      return;
    case Source::fallback:
      for (const ReadCompletion& completion : fallback_.take()) complete(completion);
      return;
    case Source::commands: {
      char wakes[64];
      (void)!::read(wake_.get(), wakes, sizeof wakes);
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

inline bool Pager::poll(PagerFabric& fabric) {
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
  if (stats.failed > 0 && !std::exchange(entry.lost_a_page, true)) {
    const std::string who = "child " + std::to_string(slot.pid);
    lost_pages_.add(Error(Errc::page_unavailable, who.c_str())
                        .at_machine(slot.machine)
                        .of_handler(slot.handler));
  }
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
    if (entry->ended) continue;
    if (!entry->child->memory().uffd().alive()) {
      end(*entry);
    } else {
      after(*entry);  // a page that another child has fetched may have moved it along
    }
  }
  std::erase_if(waiters_, [](const auto& w) { return w.second.first.expired(); });
  lost_pages_.tick();
}

}  // namespace mitosis::agent
