// SPDX-License-Identifier: MIT
// PoolLinker: sets up the links of a connection pool, and sets them up again. World: user.
// A thread of its own, since meeting another pool waits for the network; who serves the links takes
// them over and says which it has lost.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/rpc/connect.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/handshake.hpp>
#include <mitosis/net/verbs/link_messages.hpp>
#include <mitosis/net/verbs/pool_link.hpp>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::verbs {

class PoolLinker {
 public:
  /// More would have no room in the completion queues.
  static constexpr int max_links = 32;
  struct Link {
    std::unique_ptr<PoolLink> link;
    UniqueFd tcp;  ///< readable: the other pool has ended
  };
  using New = std::vector<std::pair<MachineId, Link>>;
  struct Listeners {
    std::function<void()> on_new;  ///< `take` has something; the linker's thread calls both
    std::function<void(const Error&)> on_trouble;
  };

  /// `device` is of links to come; it and the book, which tells where the other pools are, must
  /// outlive this. The machine with the smaller id calls.
  PoolLinker(const LinkDevice& device, auth::Identity self, const tcp::AddressBook& book,
             Listeners listeners)
      : device_(device), self_(std::move(self)), book_(&book), listeners_(std::move(listeners)) {}
  PoolLinker(const PoolLinker&) = delete;
  PoolLinker& operator=(const PoolLinker&) = delete;
  ~PoolLinker() { stop(); }

  /// Listens at `where`, and begins.
  Result<void> start(const std::string& where) {
    Result<tcp::Address> address = tcp::resolve(where);
    if (!address.ok()) return address.error();
    Result<UniqueFd> listener = tcp::listen_on(*address);
    if (!listener.ok()) return listener.error();
    listener_ = std::move(listener).value();
    try {
      thread_ = std::thread([this] { link_all(); });
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
    }
    return {};
  }
  void stop() {
    closing_.store(true);
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return tcp::local_port(listener_.get()); }

  // For the thread that serves the links.
  [[nodiscard]] bool any_new() const noexcept { return any_new_.load(); }
  /// Links that have come up since the last time. One to a machine that had one replaces it.
  [[nodiscard]] New take() {
    any_new_.store(false);
    const std::lock_guard lock(mutex_);
    return std::exchange(new_, {});
  }
  /// There is a link to it, after all: that of before was dropped.
  void holds(MachineId machine) {
    const std::lock_guard lock(mutex_);
    linked_.insert(machine);
  }
  /// The link is gone: it is set up anew.
  void lost(MachineId machine) {
    const std::lock_guard lock(mutex_);
    linked_.erase(machine);
  }

 private:
  static constexpr std::uint64_t setup_ms = 3000;
  static constexpr std::uint64_t again_ms = 1000;  ///< between tries
  static constexpr int look_ms = 100;              ///< whether it is to end

  void link_all();
  Result<void> call(MachineId machine, const tcp::Address& address);
  Result<void> answer(UniqueFd fd);
  Result<void> meet(tcp::FrameStream& stream, MachineId machine, UniqueFd& fd, bool first,
                    Time deadline);
  void trouble(Error error, const char* step) {
    if (listeners_.on_trouble) listeners_.on_trouble(error.in(step));
  }

  LinkDevice device_;
  auth::Identity self_;
  const tcp::AddressBook* book_;
  Listeners listeners_;
  UniqueFd listener_;
  std::mutex mutex_;
  New new_;                     ///< guarded by mutex_, as is
  std::set<MachineId> linked_;  ///< who has a link, or is about to
  std::atomic<bool> any_new_{false};
  std::atomic<bool> closing_{false};
  std::thread thread_;
};

inline void PoolLinker::link_all() {
  Time again = Time{0};
  while (!closing_.load()) {
    if (tcp::monotonic_now() >= again) {
      for (const auto& [machine, text] : book_->list()) {
        {
          const std::lock_guard lock(mutex_);
          if (machine <= self_.machine || linked_.contains(machine)) continue;
        }
        const auto address = book_->find(machine);
        if (!address || closing_.load()) continue;
        if (Result<void> called = call(machine, *address); !called.ok()) {
          trouble(Error(called.error()).at_machine(machine), "connect to another pool");
        }
      }
      again = tcp::deadline_in(again_ms);
    }
    pollfd waiting{listener_.get(), POLLIN, 0};
    static_cast<void>(::poll(&waiting, 1, look_ms));
    if (waiting.revents == 0) continue;
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!fd) continue;
    if (Result<void> answered = answer(std::move(fd)); !answered.ok()) {
      trouble(answered.error(), "answer another pool");
    }
  }
}

inline Result<void> PoolLinker::call(MachineId machine, const tcp::Address& address) {
  const Time deadline = tcp::deadline_in(setup_ms);
  Result<UniqueFd> fd = tcp::start_connect(address);
  if (!fd.ok()) return fd.error();
  Result<void> done = rpc::finish_connect(fd->get(), address, deadline);
  if (!done.ok()) return done;
  tcp::FrameStream stream(fd->get());
  auth::ClientHandshake handshake(self_, machine, auth::Purpose::rpc);
  if (Result<MachineId> peer = tcp::handshake_as_client(stream, handshake, deadline); !peer.ok()) {
    return peer.error();
  }
  return meet(stream, machine, *fd, /*first=*/true, deadline);
}

inline Result<void> PoolLinker::answer(UniqueFd fd) {
  const Time deadline = tcp::deadline_in(setup_ms);
  tcp::tune(fd.get());
  tcp::FrameStream stream(fd.get());
  Result<auth::Hello> hello = tcp::handshake_as_server(stream, self_, deadline);
  if (!hello.ok()) return hello.error();
  return meet(stream, hello->machine, fd, /*first=*/false, deadline);
}

/// Both tell their ends and raise them; each says when it may be sent to, and waits for the other.
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
  const auto tell = [&] {
    return stream.send(wire::make_frame(LinkEnd{(*link)->end()}), deadline);
  };
  if (first) {
    if (Result<void> sent = tell(); !sent.ok()) return sent;
  }
  Result<wire::Frame> frame = stream.receive(auth::max_handshake_payload, deadline);
  if (!frame.ok()) return frame.error();
  const Result<LinkEnd> other = frame->as<LinkEnd>();
  if (!other.ok()) return other.error();
  if (Result<void> raised = (*link)->raise(other->end); !raised.ok()) return raised;
  if (!first) {
    if (Result<void> sent = tell(); !sent.ok()) return sent;
  }
  if (Result<void> sent = stream.send(wire::make_frame(LinkReady{}), deadline); !sent.ok()) {
    return sent;
  }
  frame = stream.receive(auth::max_handshake_payload, deadline);
  if (!frame.ok()) return frame.error();
  if (!frame->is<LinkReady>()) return Error(Errc::bad_message, "not ready");
  {
    const std::lock_guard lock(mutex_);
    linked_.insert(machine);
    new_.emplace_back(machine, Link{std::move(*link), std::move(fd)});
    any_new_.store(true);
  }
  listeners_.on_new();
  return {};
}

}  // namespace mitosis::verbs
