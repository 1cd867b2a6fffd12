// SPDX-License-Identifier: MIT
// EventChannel: the descriptor through which completion queues tell that they have something.
// World: user.
#pragma once

#include <fcntl.h>

#include <mitosis/net/verbs/context.hpp>

#include <utility>

namespace mitosis::verbs {

/// Owns an ibv_comp_channel, set so that nothing on it waits; move-only. Ends after its queues.
class EventChannel {
 public:
  static Result<EventChannel> make(const Context& context) noexcept {
    ibv_comp_channel* const raw = ::ibv_create_comp_channel(context.get());
    if (raw == nullptr) {
      return Error(Errc::system_call_failed, "ibv_create_comp_channel", errno);
    }
    EventChannel channel(raw);
    const int flags = ::fcntl(raw->fd, F_GETFL);
    if (flags < 0 || ::fcntl(raw->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
      return Error(Errc::system_call_failed, "fcntl(O_NONBLOCK)", errno);
    }
    return channel;
  }
  explicit EventChannel(ibv_comp_channel* raw) noexcept : raw_(raw) {}
  EventChannel(EventChannel&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  EventChannel& operator=(EventChannel&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~EventChannel() { close(); }

  [[nodiscard]] ibv_comp_channel* get() const noexcept { return raw_; }
  /// Readable when a queue that has asked for an event (`CompletionQueue::arm`) has one.
  [[nodiscard]] int fd() const noexcept { return raw_->fd; }
  /// Takes all events that are there, and acknowledges them; how many. Never waits. (A queue
  /// cannot end before its events are acknowledged.)
  unsigned drain() const noexcept {
    unsigned count = 0;
    ibv_cq* queue = nullptr;
    void* unused = nullptr;
    while (::ibv_get_cq_event(raw_, &queue, &unused) == 0) {
      ::ibv_ack_cq_events(queue, 1);
      ++count;
    }
    return count;
  }

 private:
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_destroy_comp_channel(raw_);
  }
  ibv_comp_channel* raw_;
};

}  // namespace mitosis::verbs
