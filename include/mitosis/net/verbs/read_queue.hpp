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
};

/// Reads wait until the device's queue has room, then are open until they are told to have ended.
/// They end in the order of their serial numbers. One thread.
class ReadQueue {
 public:
  explicit ReadQueue(std::uint32_t room) noexcept : room_(room) {}

  void push(const PlacedRead& read) {
    waiting_.push_back(read);
    note(read.request.deadline);
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
  /// Whether something that the device may still write to is overdue: only the connection's end
  /// takes it back from the device. Ends what is overdue and still waits.
  template <class Ended>
  [[nodiscard]] bool expire(Time now, Ended ended) {
    if (now < soonest_) return false;
    soonest_ = Time::never;
    waiting_.keep_if([&](const PlacedRead& read) {
      const bool late = read.request.deadline <= now;
      late ? ended(read.request) : note(read.request.deadline);
      return !late;
    });
    bool overdue = false;
    for (std::size_t i = 0; i < open_.size(); ++i) {
      overdue = overdue || open_[i].request.deadline <= now;
      note(open_[i].request.deadline);
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
