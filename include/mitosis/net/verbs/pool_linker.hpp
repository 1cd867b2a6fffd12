// SPDX-License-Identifier: MIT
// PoolLinker: sets up the links of a connection pool, and sets them up again. World: user.
// A thread of its own calls the machines that are known, since meeting another pool waits for the
// network; those that call are served by threads of whoever listens. Who serves the links takes
// them over and says which it has lost.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/backoff.hpp>
#include <mitosis/net/rpc/connect.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/handshake.hpp>
#include <mitosis/net/verbs/make_ready.hpp>
#include <mitosis/net/verbs/pool_link.hpp>

#include <fcntl.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::verbs {

class PoolLinker {
 public:
  /// More would have no room in the completion queues.
  static constexpr int max_links = 32;
  /// Its connection is shut down at its end, which the other pool hears, and `serve` here.
  struct Link {
    std::unique_ptr<PoolLink> link;
    UniqueFd tcp;              ///< readable: the other pool has ended
    std::uint64_t serial = 0;  ///< as `coming` told it
    Link(std::unique_ptr<PoolLink> made, UniqueFd fd, std::uint64_t number)
        : link(std::move(made)), tcp(std::move(fd)), serial(number) {}
    Link(Link&&) = default;
    Link& operator=(Link&&) = delete;
    ~Link() {
      if (tcp) ::shutdown(tcp.get(), SHUT_RDWR);
    }
  };
  using New = std::vector<std::pair<MachineId, Link>>;
  struct Listeners {
    std::function<void()> on_new;  ///< `take` has something
    std::function<void(const Error&)> on_trouble;
  };

  /// `device` is of links to come; it and the book, which tells where the others are, must outlive
  /// this. The listeners are called by any thread that is in here.
  PoolLinker(const LinkDevice& device, auth::Identity self, const tcp::AddressBook& book,
             Listeners listeners)
      : device_(device), self_(std::move(self)), book_(&book), listeners_(std::move(listeners)) {}
  PoolLinker(const PoolLinker&) = delete;
  PoolLinker& operator=(const PoolLinker&) = delete;
  /// No `serve` may be under way.
  ~PoolLinker() { stop(); }

  /// Begins to call.
  Result<void> start() {
    try {
      thread_ = std::thread([this] { call_all(); });
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
    }
    return {};
  }
  void stop() {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
      if (calling_ >= 0) ::shutdown(calling_, SHUT_RDWR);
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
  }
  /// Another machine's pool has called, over `fd` (borrowed): sets a link up, and returns when it
  /// has ended. Any threads, at once.
  void serve(int fd, const auth::Hello& hello);

  // For the thread that serves the links.
  [[nodiscard]] bool any_new() const noexcept { return any_new_.load(); }
  /// Links that have come up since the last time. One to a machine that had one replaces it.
  [[nodiscard]] New take() {
    any_new_.store(false);
    const std::lock_guard lock(mutex_);
    for (const auto& [machine, link] : new_) coming_.erase(link.link->number());
    return std::exchange(new_, {});
  }
  /// The number of the link with that queue pair, which is being set up or was not taken yet; 0:
  /// there is none. The other pool may be ready first, and say something on it.
  [[nodiscard]] std::uint64_t coming(std::uint32_t queue_pair) {
    const std::lock_guard lock(mutex_);
    const auto found = coming_.find(queue_pair);
    return found == coming_.end() ? 0 : found->second;
  }
  /// There is a link to it, after all: that of before was dropped.
  void holds(MachineId machine) {
    const std::lock_guard lock(mutex_);
    linked_.insert(machine);
  }
  /// The link is gone: it is set up anew.
  void lost(MachineId machine) {
    {
      const std::lock_guard lock(mutex_);
      linked_.erase(machine);
    }
    changed_.notify_all();
  }

 private:
  static constexpr std::uint64_t setup_ms = 3000;
  static constexpr std::chrono::seconds again{1};  ///< the book is looked at
  static constexpr std::uint64_t first_pause = 1'000'000'000, longest_pause = 15'000'000'000;

  /// A machine that is called.
  struct Called {
    Backoff pause{first_pause, longest_pause};
    Errc told = Errc::ok;  ///< the trouble that was told last
  };
  void call_all();
  Result<void> call(MachineId machine, const tcp::Address& address);
  Result<void> meet(tcp::FrameStream& stream, MachineId machine, UniqueFd& fd, bool first,
                    Time deadline);
  /// The machine's turn to be met; false: it is not wanted. `done` ends the turn.
  bool begin(MachineId machine, bool calls);
  void done(MachineId machine) {
    const std::lock_guard lock(mutex_);
    busy_.erase(busy_.find(machine));
  }
  void trouble(Error error, MachineId machine, const char* step) {
    if (listeners_.on_trouble) listeners_.on_trouble(error.at_machine(machine).in(step));
  }

  LinkDevice device_;
  auth::Identity self_;
  const tcp::AddressBook* book_;
  Listeners listeners_;
  std::mutex mutex_;
  std::condition_variable changed_;
  New new_;                                        ///< guarded by mutex_, as are
  std::set<MachineId> linked_;                     ///< who has a link, or is about to
  std::multiset<MachineId> busy_;                  ///< who is being met
  std::map<std::uint32_t, std::uint64_t> coming_;  ///< links that were not taken: by queue pair
  std::uint64_t last_serial_ = 0;
  int calling_ = -1;  ///< the call's socket
  bool closing_ = false;
  std::atomic<bool> any_new_{false};
  std::thread thread_;
};

inline void PoolLinker::call_all() {
  std::map<MachineId, Called> all;
  std::unique_lock lock(mutex_);
  while (!closing_) {
    lock.unlock();
    for (const auto& [machine, text] : book_->list()) {
      const auto address = book_->find(machine);
      Called& called = all[machine];
      if (machine == self_.machine || !address || tcp::monotonic_now() < called.pause.again_at() ||
          !begin(machine, /*calls=*/true)) {
        continue;
      }
      const Result<void> met = call(machine, *address);
      done(machine);
      lock.lock();
      const bool linked = linked_.contains(machine) || busy_.contains(machine) || closing_;
      lock.unlock();
      if (met.ok() || linked) {  // where not, it has called meanwhile
        called = {};
        continue;
      }
      called.pause.failed(tcp::monotonic_now());
      const bool it_calls = met.code() == Errc::address_in_use;
      if (!it_calls && std::exchange(called.told, met.code()) != met.code()) {
        trouble(met.error(), machine, "connect to another pool");
      }
    }
    lock.lock();
    if (!closing_) changed_.wait_for(lock, again);
  }
}

/// Both may call at once: then the call of the one with the smaller id counts, and it tells the
/// other so (address_in_use).
inline bool PoolLinker::begin(MachineId machine, bool calls) {
  const std::lock_guard lock(mutex_);
  const bool being_met = busy_.contains(machine);
  if (closing_ || (calls && (being_met || linked_.contains(machine))) ||
      (!calls && being_met && self_.machine < machine)) {
    return false;
  }
  busy_.insert(machine);
  return true;
}

inline Result<void> PoolLinker::call(MachineId machine, const tcp::Address& address) {
  const Time deadline = tcp::deadline_in(setup_ms);
  Result<UniqueFd> fd = tcp::start_connect(address);
  if (!fd.ok()) return fd.error();
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return Error(Errc::shutting_down);
    calling_ = fd->get();
  }
  const auto met = [&]() -> Result<void> {
    Result<void> done = rpc::finish_connect(fd->get(), address, deadline);
    if (!done.ok()) return done;
    tcp::FrameStream stream(fd->get());
    auth::ClientHandshake handshake(self_, machine, auth::Purpose::pool_link);
    const Result<MachineId> peer = tcp::handshake_as_client(stream, handshake, deadline);
    return peer.ok() ? meet(stream, machine, *fd, /*first=*/true, deadline) : peer.error();
  }();
  const std::lock_guard lock(mutex_);
  calling_ = -1;  // before it is closed: then its number may be another's
  return met;
}

inline void PoolLinker::serve(int fd, const auth::Hello& hello) {
  const Time deadline = tcp::deadline_in(setup_ms);
  const MachineId machine = hello.machine;
  tcp::FrameStream stream(fd);
  const auto refuse = [&](const Error& why) {
    static_cast<void>(stream.send(wire::make_frame(ErrorReply{Error(why.code)}), deadline));
  };
  if (machine == self_.machine || !begin(machine, /*calls=*/false)) {
    return refuse(Error(Errc::address_in_use));
  }
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  const Result<void> met = own ? meet(stream, machine, own, /*first=*/false, deadline)
                               : Error(Errc::system_call_failed, "fcntl", errno);
  done(machine);
  if (!met.ok()) {
    refuse(met.error());
    return trouble(met.error(), machine, "answer another pool");
  }
  // It says nothing more: until it ends, or the link does.
  pollfd ended{fd, POLLIN, 0};
  while (::poll(&ended, 1, -1) < 0 && errno == EINTR) {
  }
}

/// One link, from its making to where it is taken over.
inline Result<void> PoolLinker::meet(tcp::FrameStream& stream, MachineId machine, UniqueFd& fd,
                                     bool first, Time deadline) {
  {
    const std::lock_guard lock(mutex_);
    if (linked_.size() >= max_links && !linked_.contains(machine)) {
      return Error(Errc::limit_exceeded, "links of a connection pool");
    }
  }
  Result<std::unique_ptr<PoolLink>> link = PoolLink::make(device_);
  if (!link.ok()) return link.error();
  const std::uint32_t queue_pair = (*link)->number();
  std::uint64_t serial = 0;
  {
    const std::lock_guard lock(mutex_);
    serial = coming_[queue_pair] = ++last_serial_;
  }
  Result<void> ready = make_ready(stream, **link, first, deadline);
  {
    const std::lock_guard lock(mutex_);
    if (ready.ok() && closing_) ready = Error(Errc::shutting_down);
    if (!ready.ok()) {
      coming_.erase(queue_pair);
      return ready;
    }
    if (first) calling_ = -1;  // its socket is the link's
    linked_.insert(machine);
    new_.emplace_back(machine, Link(std::move(*link), std::move(fd), serial));
    any_new_.store(true);
  }
  listeners_.on_new();
  return {};
}

}  // namespace mitosis::verbs
