// SPDX-License-Identifier: MIT
// ReadQueue: the reads of one connection, from being asked for to their end. World: user.
// Pure bookkeeping, no device: what is told of requests when only the last of each batch is
// signalled, what is overdue, how much room the device's queue has.
#pragma once

#include <mitosis/net/fabric.hpp>
#include <mitosis/net/tcp/ring.hpp>
#include <mitosis/net/verbs/remote_memory.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::verbs {

/// A request with the places where its bytes are.
struct PlacedRead {
  static constexpr std::size_t max_parts = 4;
  ReadRequest request;
  RemotePart parts[max_parts];
  std::uint32_t count = 0;  ///< of parts: as many requests of the device
  Time give_up{0};          ///< ReadQueue's: when the device has had its share of the time
};

/// Half of a read's time is the device's: what has not come by then needs the rest to go another
/// way. Devices repeat lost packets for a second or four by their own account, and for as long as
/// it takes where a busy host emulates them.
[[nodiscard]] inline Time half_time(Time deadline, Time now) noexcept {
  if (deadline <= now) return deadline;
  return now + (static_cast<std::uint64_t>(deadline) - static_cast<std::uint64_t>(now)) / 2;
}

/// Reads wait until the device's queue has room, then are open until they are told to have ended.
/// They end in the order of their serial numbers. One thread.
class ReadQueue {
 public:
  explicit ReadQueue(std::uint32_t room) noexcept : room_(room) {}

  void push(const PlacedRead& read, Time now) {
    PlacedRead placed = read;
    placed.give_up = half_time(read.request.deadline, now);
    waiting_.push_back(placed);
    note(placed.give_up);
  }
  /// Opens the next read: its serial number, or nothing (false) where none waits or there is no
  /// room. The caller posts its parts.
  [[nodiscard]] bool open_next(PlacedRead& read, std::uint64_t& serial) {
    if (waiting_.empty() || waiting_[0].count > room_) return false;
    read = waiting_[0];
    waiting_.pop_front();
    room_ -= read.count;
    serial = first_ + open_.size();
    open_.push_back(read);
    return true;
  }
  /// The device says that `serial`, and so all before it, have ended well: `ended(request)` each.
  template <class Ended>
  void succeed_to(std::uint64_t serial, Ended ended) {
    while (!open_.empty() && first_ <= serial) {
      const PlacedRead read = open_[0];
      open_.pop_front();
      ++first_;
      room_ += read.count;
      ended(read.request);
    }
  }
  /// The first that is open and its serial number; null where none is.
  [[nodiscard]] const PlacedRead* oldest(std::uint64_t& serial) const noexcept {
    serial = first_;
    return open_.empty() ? nullptr : &open_[0];
  }
  /// Ends all that are open or wait; the connection has none any more. `ended(request)` each, in
  /// order. Serial numbers go on.
  template <class Ended>
  void end_all(Ended ended) {
    while (!open_.empty()) {
      const PlacedRead read = open_[0];
      open_.pop_front();
      ++first_;
      room_ += read.count;
      ended(read.request);
    }
    while (!waiting_.empty()) {
      const PlacedRead read = waiting_[0];
      waiting_.pop_front();
      ended(read.request);
    }
    soonest_ = Time::never;
  }
  /// Whether the device has had something for too long: only the connection's end takes it back.
  /// Ends what still waits and whose time is up.
  template <class Ended>
  [[nodiscard]] bool expire(Time now, Ended ended) {
    if (now < soonest_) return false;
    soonest_ = Time::never;
    waiting_.keep_if([&](const PlacedRead& read) {
      const bool late = read.request.deadline <= now;
      late ? ended(read.request) : note(read.give_up > now ? read.give_up : read.request.deadline);
      return !late;
    });
    bool overdue = false;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      overdue = overdue || open_[i].give_up <= now;
      note(open_[i].give_up);
    }
    return overdue;
  }
  /// `expire` has nothing to do before.
  [[nodiscard]] Time soonest() const noexcept { return soonest_; }
  [[nodiscard]] bool empty() const noexcept { return open_.empty() && waiting_.empty(); }
  [[nodiscard]] std::size_t open() const noexcept { return open_.size(); }

 private:
  void note(Time deadline) noexcept {
    if (deadline < soonest_) soonest_ = deadline;
  }
  tcp::Ring<PlacedRead> waiting_;  ///< in order of asking
  tcp::Ring<PlacedRead> open_;     ///< handed to the device; the first is number first_
  std::uint64_t first_ = 0;
  std::uint32_t room_;
  Time soonest_ = Time::never;
};

}  // namespace mitosis::verbs
