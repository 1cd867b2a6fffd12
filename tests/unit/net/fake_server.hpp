// SPDX-License-Identifier: MIT
// FakeServer: an authenticated peer that then does whatever a test wants. World: user.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <mitosis/net/tcp/handshake.hpp>
#include <mitosis/net/tcp/lane_wire.hpp>
#include <mitosis/net/tcp/socket.hpp>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "test_server.hpp"

namespace mitosis::test {

/// Waits on one thread for what another one does; a wait gives up after ten seconds.
class Signal {
 public:
  void set() {
    {
      const std::lock_guard lock(mutex_);
      set_ = true;
    }
    changed_.notify_all();
  }
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [this] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

/// Accepts connections one after the other; after the handshake `script(fd, n)` has the n-th.
class FakeServer {
 public:
  using Script = std::function<void(int fd, int connection)>;
  explicit FakeServer(Script script)
      : script_(std::move(script)),
        listener_(std::move(tcp::listen_on(*tcp::resolve("127.0.0.1:0"))).value()),
        address("127.0.0.1:" + std::to_string(tcp::local_port(listener_.get()))),
        thread_([this] { run(); }) {}
  ~FakeServer() {
    ending_.store(true);
    thread_.join();
  }

  /// The next request of a lane; false where the peer closed.
  static bool receive(int fd, tcp::LaneRequest& request) {
    return ::recv(fd, &request, sizeof(request), MSG_WAITALL) == sizeof(request);
  }
  static void send(int fd, const void* data, std::size_t bytes) {
    static_cast<void>(!::send(fd, data, bytes, MSG_NOSIGNAL));
  }
  /// A right part of the right bytes.
  static void send_part(int fd, std::uint64_t sequence, std::uint64_t address,
                        std::uint32_t bytes) {
    const tcp::PartHeader header{sequence, 0, bytes};
    std::vector<std::uint8_t> all(sizeof(header) + bytes);
    std::memcpy(all.data(), &header, sizeof(header));
    for (std::uint32_t i = 0; i < bytes; ++i) all[sizeof(header) + i] = byte_at(address + i);
    send(fd, all.data(), all.size());
  }
  /// Returns when the peer has closed.
  static void wait_for_close(int fd) {
    std::uint8_t byte = 0;
    while (::recv(fd, &byte, 1, 0) > 0) {
    }
  }

 private:
  void run() {
    for (int n = 0; !ending_.load();) {
      pollfd waiting{listener_.get(), POLLIN, 0};
      if (::poll(&waiting, 1, 20) <= 0) continue;
      const UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      const timeval limit{10, 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
      tcp::FrameStream stream(fd.get());
      const auto hello =
          tcp::handshake_as_server(stream, identity(server_machine), tcp::deadline_in(5000));
      if (hello.ok()) script_(fd.get(), n++);
    }
  }

  Script script_;
  UniqueFd listener_;

 public:
  const std::string address;

 private:
  std::atomic<bool> ending_{false};
  std::thread thread_;
};

}  // namespace mitosis::test
