// SPDX-License-Identifier: MIT
// PolledSocket: a socket that an epoll listens to, under a number. World: user; one thread.
#pragma once

#include <sys/epoll.h>

#include <mitosis/base/unique_fd.hpp>

#include <cstdint>
#include <utility>

namespace mitosis::tcp {

/// Owns the socket, borrows the epoll.
class PolledSocket {
 public:
  PolledSocket() noexcept = default;
  PolledSocket(const PolledSocket&) = delete;
  PolledSocket& operator=(const PolledSocket&) = delete;
  ~PolledSocket() { close(); }

  void open(UniqueFd fd, int epoll, std::uint32_t number) noexcept {
    close();
    fd_ = std::move(fd);
    epoll_ = epoll;
    number_ = number;
  }
  /// From now on these EPOLL events are told; a system call only where they change.
  void listen_for(std::uint32_t events) noexcept {
    if (events == listening_) return;
    epoll_event event{};
    event.events = events;
    event.data.u32 = number_;
    ::epoll_ctl(epoll_, listening_ == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd_.get(), &event);
    listening_ = events;
  }
  void close() noexcept {
    // Removed by hand: closing would not do it where a forked process still holds the descriptor.
    if (listening_ != 0) ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd_.get(), nullptr);
    listening_ = 0;
    fd_.reset();
  }
  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(fd_); }

 private:
  UniqueFd fd_;
  int epoll_ = -1;
  std::uint32_t number_ = 0;
  std::uint32_t listening_ = 0;  ///< the events that are asked for
};

}  // namespace mitosis::tcp
