// SPDX-License-Identifier: MIT
// CompletionQueue: where finished requests are told. World: user.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/net/verbs/event_channel.hpp>

#include <cstddef>
#include <utility>

namespace mitosis::verbs {

/// Owns an ibv_cq; move-only. Ends after the queue pairs that complete into it.
class CompletionQueue {
 public:
  /// Room for at least `entries`: as many as can be outstanding, since one that overruns is dead
  /// for good. `channel` may be null: then it is only polled.
  static Result<CompletionQueue> make(const Context& context, int entries,
                                      const EventChannel* channel) noexcept {
    ibv_cq* const raw =
        ::ibv_create_cq(context.get(), entries, nullptr,
                        channel != nullptr ? channel->get() : nullptr, /*comp_vector=*/0);
    if (raw == nullptr) {
      return Error(Errc::system_call_failed, "ibv_create_cq", errno).in("make a completion queue");
    }
    return CompletionQueue(raw);
  }
  explicit CompletionQueue(ibv_cq* raw) noexcept : raw_(raw) {}
  CompletionQueue(CompletionQueue&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  CompletionQueue& operator=(CompletionQueue&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~CompletionQueue() { close(); }

  [[nodiscard]] ibv_cq* get() const noexcept { return raw_; }
  [[nodiscard]] int entries() const noexcept { return raw_->cqe; }
  /// How many completions were written. connection_lost: the queue is broken (overrun).
  [[nodiscard]] Result<std::size_t> poll(Span<ibv_wc> done) const noexcept {
    const int count = ::ibv_poll_cq(raw_, static_cast<int>(done.size()), done.data());
    if (count < 0) return Error(Errc::connection_lost, "ibv_poll_cq: the queue is broken");
    return static_cast<std::size_t>(count);
  }
  /// The next completion makes its channel readable. What came before is not told: poll once more
  /// after this, or an event is missed.
  [[nodiscard]] Result<void> arm() const noexcept {
    if (const int e = ::ibv_req_notify_cq(raw_, /*solicited_only=*/0); e != 0) {
      return Error(Errc::system_call_failed, "ibv_req_notify_cq", e);
    }
    return {};
  }

 private:
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_destroy_cq(raw_);
  }
  ibv_cq* raw_;
};

}  // namespace mitosis::verbs
