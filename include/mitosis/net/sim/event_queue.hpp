// SPDX-License-Identifier: MIT
// EventQueue: virtual time. World: sim.
// What happens at the same instant happens in the order in which it was scheduled, so that a run is
// a function of its seed; the trace hash proves it.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// Runs actions at their times. One thread; actions may schedule more.
class EventQueue {
 public:
  [[nodiscard]] Time now() const noexcept { return now_; }

  /// Runs `action` at `when`, or now if that has passed. `tag` is only for the trace.
  void at(Time when, std::uint64_t tag, std::function<void()> action) {
    events_.push_back({when < now_ ? now_ : when, next_++, tag, std::move(action)});
    std::push_heap(events_.begin(), events_.end(), Later{});
  }
  void after(std::uint64_t nanoseconds, std::uint64_t tag, std::function<void()> action) {
    at(now_ + nanoseconds, tag, std::move(action));
  }

  /// Runs the next event; false where there is none.
  bool step() {
    if (events_.empty()) return false;
    std::pop_heap(events_.begin(), events_.end(), Later{});
    Event event = std::move(events_.back());
    events_.pop_back();
    now_ = event.when;
    ++count_;
    mix(static_cast<std::uint64_t>(event.when));
    mix(event.tag);
    event.action();
    return true;
  }
  void run() {
    while (step()) {
    }
  }
  /// Until nothing is left before `end`; then it is `end`.
  void run_until(Time end) {
    while (!events_.empty() && events_.front().when <= end) step();
    now_ = end;
  }

  /// Of everything that has happened, in order.
  [[nodiscard]] std::uint64_t trace_hash() const noexcept { return hash_; }
  [[nodiscard]] std::uint64_t events() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return events_.empty(); }

 private:
  struct Event {
    Time when;
    std::uint64_t sequence;
    std::uint64_t tag;
    std::function<void()> action;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const noexcept {
      return a.when != b.when ? a.when > b.when : a.sequence > b.sequence;
    }
  };
  void mix(std::uint64_t value) noexcept {
    hash_ = (hash_ ^ value) * 0x100000001b3ull;
    hash_ ^= hash_ >> 29;
  }

  std::vector<Event> events_;
  Time now_{};
  std::uint64_t next_ = 0;
  std::uint64_t count_ = 0;
  std::uint64_t hash_ = 0xcbf29ce484222325ull;
};

}  // namespace mitosis::sim
