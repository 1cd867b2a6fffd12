// SPDX-License-Identifier: MIT
// Comers: those who have connected where processes attach to a pool, and not sent their packet yet.
// World: user; one thread. Nobody else waits for them.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::pool {

class Comers {
 public:
  static constexpr std::size_t most = 64;               ///< the oldest goes where there are more
  static constexpr std::uint64_t patience_ms = 10'000;  ///< for the packet

  /// `listener` (listen_at) must outlive it.
  explicit Comers(int listener) noexcept : listener_(listener) {}

  [[nodiscard]] bool empty() const noexcept { return all_.empty(); }
  /// Appends the descriptors that have something to say of them.
  void watch(std::vector<pollfd>& waiting) {
    first_ = waiting.size();
    waiting.push_back({listener_, POLLIN, 0});
    for (const Comer& comer : all_) waiting.push_back({comer.socket.get(), POLLIN, 0});
    watched_ = all_.size();
  }
  /// After poll(2) of these: calls `take(socket)` of each that has sent its packet, or has gone,
  /// and lets the next one in. False: somebody waits who cannot be let in.
  template <class Take>
  bool attend(const std::vector<pollfd>& waiting, Take take) {
    for (std::size_t i = 0; i < watched_; ++i) {
      if (waiting[first_ + 1 + i].revents != 0) take(std::exchange(all_[i].socket, {}));
    }
    const Time now = tcp::monotonic_now();
    std::erase_if(all_, [now](const Comer& c) { return !c.socket || now >= c.deadline; });
    if (waiting[first_].revents == 0) return true;
    UniqueFd socket(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return false;
    if (all_.size() >= most) all_.erase(all_.begin());
    all_.push_back({std::move(socket), tcp::deadline_in(patience_ms)});
    return true;
  }

 private:
  struct Comer {
    UniqueFd socket;
    Time deadline;
  };

  int listener_;
  std::vector<Comer> all_;  ///< oldest first
  // Of the last `watch`: where in it, and how many.
  std::size_t first_ = 0, watched_ = 0;
};

}  // namespace mitosis::pool
