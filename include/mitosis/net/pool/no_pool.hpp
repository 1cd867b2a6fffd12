// SPDX-License-Identifier: MIT
// NoPool: stands where processes attach while no connection pool is held, and tells them so.
// World: user.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/pool/attach.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::pool {

/// Whoever attaches hears transport_unsupported, from a thread of its own, until this ends.
class NoPool {
 public:
  /// `listener` (listen_at) must outlive it.
  static Result<std::unique_ptr<NoPool>> start(int listener) {
    UniqueFd end(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!end) return Error(Errc::system_call_failed, "eventfd", errno);
    std::unique_ptr<NoPool> made(new NoPool(listener, std::move(end)));
    try {
      made->thread_ = std::thread([raw = made.get()] { raw->run(); });
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
    }
    return made;
  }
  NoPool(const NoPool&) = delete;
  NoPool& operator=(const NoPool&) = delete;
  ~NoPool() {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(end_.get(), &one, sizeof one));
    if (thread_.joinable()) thread_.join();
  }

 private:
  /// Has connected, and not sent its packet yet: it would not hear what is said before.
  struct Comer {
    UniqueFd socket;
    Time deadline;
  };
  static constexpr std::size_t max_comers = 64;
  static constexpr std::uint64_t comer_ms = 10'000;
  static constexpr int look_ms = 1000;  // for those who say nothing

  NoPool(int listener, UniqueFd end) : listener_(listener), end_(std::move(end)) {}

  void run() {
    std::vector<Comer> comers;  // oldest first
    for (;;) {
      std::vector<pollfd> waiting = {{end_.get(), POLLIN, 0}, {listener_, POLLIN, 0}};
      for (const Comer& comer : comers) waiting.push_back({comer.socket.get(), POLLIN, 0});
      static_cast<void>(::poll(waiting.data(), waiting.size(), comers.empty() ? -1 : look_ms));
      if (waiting[0].revents != 0) return;
      const Time now = tcp::monotonic_now();
      for (std::size_t i = 0; i < comers.size(); ++i) {
        if (waiting[i + 2].revents != 0) refuse(std::exchange(comers[i].socket, {}), now);
      }
      std::erase_if(comers, [now](const Comer& c) { return !c.socket || now >= c.deadline; });
      if (waiting[1].revents == 0) continue;
      UniqueFd socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!socket) {
        (void)::usleep(10'000);  // of descriptors there may be none for a while
        continue;
      }
      if (comers.size() >= max_comers) comers.erase(comers.begin());
      comers.push_back({std::move(socket), tcp::deadline_in(comer_ms)});
    }
  }
  /// What it has sent is read first: a socket that ends with something unread takes the answer
  /// along.
  static void refuse(UniqueFd socket, Time now) {
    AttachPacket packet;
    const Result<void> came = receive_attach(socket.get(), packet, now);
    Attach said;
    said.status = came.ok() ? Errc::transport_unsupported : came.code();
    static_cast<void>(send_attach(socket.get(), said, {}));
  }

  const int listener_;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace mitosis::pool
