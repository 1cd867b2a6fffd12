// SPDX-License-Identifier: MIT
// PeerMonitor: notices that a peer is gone even when nobody calls it. World: user.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>

#include <mitosis/net/rpc/client.hpp>

#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

namespace mitosis::rpc {

/// Watches a client's session in a thread of its own: a closed connection is reported at once, a
/// silent peer after `interval_ms` + `patience_ms`, both through the client's OnDisconnect. It
/// pings, so it also keeps the session up. The client must outlive it.
class PeerMonitor {
 public:
  struct Options {
    std::uint64_t interval_ms = 2000;
    std::uint64_t patience_ms = 3000;
  };

  [[nodiscard]] static Result<std::unique_ptr<PeerMonitor>> start(Client& client, Options options) {
    UniqueFd stop(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!stop) return Error(Errc::system_call_failed, "eventfd", errno).in("watch a peer");
    std::unique_ptr<PeerMonitor> monitor(new PeerMonitor(client, options, std::move(stop)));
    try {
      monitor->thread_ = std::thread([m = monitor.get()] { m->watch(); });
    } catch (const std::system_error& error) {
      return Error(Errc::limit_exceeded, "a thread cannot be started", error.code().value());
    }
    return monitor;
  }
  PeerMonitor(const PeerMonitor&) = delete;
  PeerMonitor& operator=(const PeerMonitor&) = delete;
  /// Returns within `patience_ms`.
  ~PeerMonitor() {
    const std::uint64_t one = 1;
    static_cast<void>(!::write(stop_.get(), &one, sizeof(one)));
    if (thread_.joinable()) thread_.join();
  }

 private:
  PeerMonitor(Client& client, Options options, UniqueFd stop)
      : client_(&client), options_(options), stop_(std::move(stop)) {}

  void watch() {
    for (;;) {
      const std::shared_ptr<const Client::Socket> session = client_->session();
      pollfd waiting[2] = {{stop_.get(), POLLIN, 0},
                           {session ? session->fd.get() : -1, POLLRDHUP, 0}};
      const int ready = ::poll(waiting, 2, static_cast<int>(options_.interval_ms));
      if ((waiting[0].revents & POLLIN) != 0) return;
      if (waiting[1].revents != 0) {
        client_->lost(session, Error(Errc::connection_lost).at_machine(client_->peer()));
      } else if (ready == 0) {
        static_cast<void>(client_->ping(tcp::deadline_in(options_.patience_ms)));
      }
    }
  }

  Client* client_;
  Options options_;
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace mitosis::rpc
