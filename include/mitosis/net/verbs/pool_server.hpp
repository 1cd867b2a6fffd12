// SPDX-License-Identifier: MIT
// PoolServer: a machine's connection pool: holds a connection to each other machine's, and lets the
// processes of this one use them. World: user.
// One thread does all that is quick: rings, completions, attaching; a linker's sets links up.
#pragma once

#include <sys/eventfd.h>

#include <mitosis/net/pool/switchboard.hpp>
#include <mitosis/net/verbs/completion_words.hpp>
#include <mitosis/net/verbs/pool_linker.hpp>
#include <mitosis/net/verbs/pool_processes.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::verbs {

class PoolServer {
 public:
  struct Options {
    int listener = -1;  ///< where processes attach (pool::listen_at)
    PoolLimits limits = {};
    std::uint64_t spin_us = 200;  ///< without anything to do, before its thread sleeps
    std::function<void(const Error&)> on_trouble = {};  ///< of links; any thread in here calls it
  };

  /// `book` tells where the other machines' pools are; more may be added at any time. It, the
  /// listener and the device must outlive the pool.
  static Result<std::unique_ptr<PoolServer>> start(const Nic& nic, Options options,
                                                   auth::Identity self,
                                                   const tcp::AddressBook& book);
  PoolServer(const PoolServer&) = delete;
  PoolServer& operator=(const PoolServer&) = delete;
  ~PoolServer() { stop(); }

  /// Ends all links, and every process's share.
  void stop() {
    closing_.store(true);
    poke();
    if (linker_) linker_->stop();
    if (worker_.joinable()) worker_.join();
  }
  /// Another machine's pool has called, over `fd` (borrowed); returns when the link has ended, or
  /// the connection was shut down. Must have returned before the pool ends (not: is stopped).
  void serve_link(int fd, const auth::Hello& hello) { linker_->serve(fd, hello); }
  /// Memory that is pinned for it; any thread.
  [[nodiscard]] std::uint64_t bytes_used() const noexcept {
    return processes_.bytes_used() + up_.load() * PoolLink::memory_bytes;
  }

  // What the switchboard asks for; its thread's alone.
  [[nodiscard]] bool up(MachineId machine) const { return links_.contains(machine); }
  void send(MachineId machine, std::vector<std::uint8_t> bytes) {
    links_.at(machine).link->send(std::move(bytes));
  }
  void transfer(MachineId machine, const pool::Transfer& t) {
    links_.at(machine).link->transfer(t, processes_.region(t.process));
  }
  [[nodiscard]] pool::Region region(pool::ProcessId id) const {
    const RemoteMemory all = processes_.region(id).remote();
    return {all.address, all.bytes, all.remote_key};
  }
  void release(pool::ProcessId id) { processes_.release(id); }

 private:
  PoolServer(const Nic& nic, Options options)
      : nic_(&nic),
        options_(std::move(options)),
        processes_(nic.domain(), options_.listener, options_.limits) {}

  Result<void> open(auth::Identity self, const tcp::AddressBook& book);
  void work();
  bool complete();
  void take(const ibv_wc& done, bool received);
  void sleep();
  void take_new_links();
  void drop_link(MachineId machine, const Error& why);
  PoolLink* link_of(std::uint32_t queue_pair, MachineId& machine);
  void wake_processes();

  void poke() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(doorbell_.get(), &one, sizeof one));
  }
  void trouble(Error error, const char* step) {
    if (options_.on_trouble) options_.on_trouble(error.in(step));
  }

  const Nic* nic_;
  Options options_;
  UniqueFd doorbell_;  ///< the linker has something, or the pool is to end
  // In this order: each ends before what it was made of.
  std::optional<EventChannel> channel_;
  std::optional<CompletionQueue> sent_, received_;
  PoolProcesses processes_;
  std::unique_ptr<PoolLinker> linker_;
  std::map<MachineId, PoolLinker::Link> links_;
  struct Early {
    std::uint64_t link = 0;  ///< its serial number
    ibv_wc done;
    bool received = false;
  };
  std::vector<Early> early_;  ///< of links that are still being set up
  pool::Switchboard<PoolServer> board_{*this};
  std::atomic<std::size_t> up_{0};  ///< links
  std::atomic<bool> closing_{false};
  std::thread worker_;
};

// -- start ----------------------------------------------------------------------------------------

inline Result<std::unique_ptr<PoolServer>> PoolServer::start(const Nic& nic, Options options,
                                                             auth::Identity self,
                                                             const tcp::AddressBook& book) {
  std::unique_ptr<PoolServer> server(new PoolServer(nic, std::move(options)));
  if (Result<void> opened = server->open(std::move(self), book); !opened.ok()) {
    return opened.error().in("start a connection pool");
  }
  try {
    server->worker_ = std::thread([s = server.get()] { s->work(); });
  } catch (const std::system_error& error) {
    return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
  }
  return server;
}

inline Result<void> PoolServer::open(auth::Identity self, const tcp::AddressBook& book) {
  const auto keep = [](auto& place, auto made) -> Result<void> {
    if (!made.ok()) return made.error();
    place.emplace(std::move(made).value());
    return {};
  };
  const int entries = PoolLinker::max_links * static_cast<int>(PoolLink::slots);
  const Context& context = nic_->context();
  Result<void> done = keep(channel_, EventChannel::make(context));
  if (done.ok()) done = keep(sent_, CompletionQueue::make(context, 2 * entries, &*channel_));
  if (done.ok()) done = keep(received_, CompletionQueue::make(context, entries, &*channel_));
  if (!done.ok()) return done;
  doorbell_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!doorbell_) return Error(Errc::system_call_failed, "eventfd", errno);
  linker_ =
      std::make_unique<PoolLinker>(LinkDevice{*nic_, *sent_, *received_}, std::move(self), book,
                                   PoolLinker::Listeners{[this] { poke(); }, options_.on_trouble});
  return linker_->start();
}

// -- the thread that serves -----------------------------------------------------------------------

inline void PoolServer::work() {
  Time spin_until = tcp::monotonic_now() + options_.spin_us * 1000;
  Time look = Time{0};
  while (!closing_.load()) {
    const Time now = tcp::monotonic_now();
    if (linker_->any_new()) take_new_links();
    const bool asked = board_.step();
    const bool busy = complete() || asked;
    wake_processes();
    if (busy) spin_until = now + options_.spin_us * 1000;
    // Sockets are looked at now and then while it is busy, and each time it sleeps.
    if (now >= spin_until || now >= look) {
      sleep();
      look = now + 1'000'000;
    }
  }
  while (!links_.empty()) drop_link(links_.begin()->first, Error(Errc::shutting_down));
  board_.detach_all();
  processes_.release_all();
}

/// Ends of requests and messages that have come.
inline bool PoolServer::complete() {
  ibv_wc done[32];
  bool any = false;
  for (const CompletionQueue* queue : {&*sent_, &*received_}) {
    const Result<std::size_t> count = queue->poll(Span<ibv_wc>(done));
    if (!count.ok()) {
      trouble(count.error(), "serve a connection pool");
      closing_.store(true);
      return false;
    }
    for (std::size_t i = 0; i < *count; ++i) take(done[i], queue == &*received_);
    any |= *count > 0;
  }
  return any;
}

inline void PoolServer::take(const ibv_wc& done, bool received) {
  MachineId machine = MachineId::none;
  PoolLink* const link = link_of(done.qp_num, machine);
  if (link == nullptr) {
    // Here the link may not be known to be ready, where the other pool's is: kept until it is. Else
    // it is of one that was dropped.
    const std::uint64_t coming = linker_->coming(done.qp_num);
    if (coming != 0) early_.push_back({coming, done, received});
    return;
  }
  if (done.status != IBV_WC_SUCCESS) {
    return drop_link(machine, Error(Errc::connection_lost, words(done.status)));
  }
  bool broken = false;
  if (received) {
    const auto slot = static_cast<std::uint32_t>(done.wr_id);
    board_.on_message(machine, link->received(slot, done.byte_len));
    broken = !link->took(slot).ok();
  } else if (const std::uint64_t tag = link->ended(done.wr_id); tag != 0) {
    board_.on_transferred(tag, Errc::ok);
  }
  if (broken || link->broken()) drop_link(machine, Error(Errc::connection_lost));
}

inline PoolLink* PoolServer::link_of(std::uint32_t queue_pair, MachineId& machine) {
  for (auto& [id, link] : links_) {
    if (link.link->number() != queue_pair) continue;
    machine = id;
    return link.link.get();
  }
  return nullptr;
}

/// Its queue pair ends first: after that nothing lands in anybody's memory.
inline void PoolServer::drop_link(MachineId machine, const Error& why) {
  links_.erase(machine);
  up_.store(links_.size());
  board_.on_link_lost(machine);
  linker_->lost(machine);
  if (why.code != Errc::shutting_down) trouble(Error(why).at_machine(machine), "hold a connection");
}

inline void PoolServer::take_new_links() {
  for (auto& [machine, link] : linker_->take()) {
    if (links_.contains(machine)) drop_link(machine, Error(Errc::shutting_down));
    links_.emplace(machine, std::move(link));
    linker_->holds(machine);
  }
  up_.store(links_.size());
  for (const Early& early : std::exchange(early_, {})) {
    const bool taken = std::any_of(links_.begin(), links_.end(), [&early](const auto& entry) {
      return entry.second.serial == early.link;
    });
    if (taken) {
      take(early.done, early.received);
    } else if (linker_->coming(early.done.qp_num) == early.link) {
      early_.push_back(early);
    }
  }
}

inline void PoolServer::wake_processes() {
  for (const pool::ProcessId id : board_.take_told()) {
    pool::Area* const area = board_.area(id);
    if (area == nullptr || area->process_sleeps.load(std::memory_order_seq_cst) == 0) continue;
    processes_.wake(id);
  }
}

/// Looks at all descriptors, and sleeps where nothing else is to be done.
inline void PoolServer::sleep() {
  board_.tell_sleeping(true);
  channel_->drain();
  const bool armed = sent_->arm().ok() && received_->arm().ok();
  const bool idle = armed && !complete() && board_.idle() && !linker_->any_new();
  wake_processes();
  std::vector<pollfd> waiting = {{doorbell_.get(), POLLIN, 0}, {channel_->fd(), POLLIN, 0}};
  std::vector<MachineId> machines;
  for (const auto& [machine, link] : links_) {
    machines.push_back(machine);
    waiting.push_back({link.tcp.get(), POLLIN, 0});
  }
  processes_.watch(waiting);
  static_cast<void>(::poll(waiting.data(), waiting.size(), idle ? 1000 : 0));
  board_.tell_sleeping(false);
  std::uint64_t count = 0;
  static_cast<void>(!::read(doorbell_.get(), &count, sizeof count));
  processes_.attend(
      waiting, [this](pool::ProcessId id) { board_.detach(id); },
      [this](pool::ProcessId id, pool::Area& area, MutableBytes data) {
        board_.attach(id, area, data);
      });
  // Another pool says nothing on its socket: it is its end.
  for (std::size_t i = 0; i < machines.size(); ++i) {
    if (waiting[2 + i].revents == 0 || !links_.contains(machines[i])) continue;
    drop_link(machines[i], Error(Errc::connection_lost, "the other pool has ended"));
  }
}

}  // namespace mitosis::verbs
