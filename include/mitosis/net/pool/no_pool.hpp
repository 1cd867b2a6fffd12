// SPDX-License-Identifier: MIT
// NoPool: stands where processes attach while no connection pool is held, and tells them so.
// World: user.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/pool/attach.hpp>
#include <mitosis/net/pool/comers.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <cerrno>
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
  static constexpr int look_ms = 1000;  // for those who say nothing

  NoPool(int listener, UniqueFd end) : comers_(listener), end_(std::move(end)) {}

  void run() {
    for (;;) {
      std::vector<pollfd> waiting = {{end_.get(), POLLIN, 0}};
      comers_.watch(waiting);
      static_cast<void>(::poll(waiting.data(), waiting.size(), comers_.empty() ? -1 : look_ms));
      if (waiting[0].revents != 0) return;
      if (!comers_.attend(waiting, refuse)) {
        (void)::usleep(10'000);  // of descriptors there may be none for a while
      }
    }
  }
  /// What it has sent is read first: a socket that ends with something unread takes the answer
  /// along.
  static void refuse(UniqueFd socket) {
    AttachPacket packet;
    const Result<void> came = receive_attach(socket.get(), packet, tcp::monotonic_now());
    Attach said;
    said.status = came.ok() ? Errc::transport_unsupported : came.code();
    static_cast<void>(send_attach(socket.get(), said, {}));
  }

  Comers comers_;
  UniqueFd end_;
  std::thread thread_;
};

}  // namespace mitosis::pool
