// SPDX-License-Identifier: MIT
// WaitList: faults that cannot be served yet. World: any (freestanding).
// Fixed in size; a fault that finds no room is not lost: its threads are woken later and fault
// again.
#pragma once

#include <mitosis/mem/page.hpp>
#include <mitosis/net/fabric.hpp>

#include <cstdint>

namespace mitosis {

/// A page that is waited for, and until when.
struct WaitingFault {
  /// `in_flight`: a read ahead of this child brings it. `filling`: another child's read does.
  /// `busy`: no slot or landing is free. `changing`: the child's map is.
  enum class Reason : std::uint8_t { in_flight, filling, busy, changing };
  PageNumber page{};
  PageNumber key{};  ///< with `filling`
  Time deadline = Time::never;
  Reason reason = Reason::busy;
};

/// A bag of waiting faults, each page once.
class WaitList {
 public:
  static constexpr unsigned capacity = 64;

  /// A page that waits already keeps its deadline, and waits for the new reason.
  void add(const WaitingFault& fault) noexcept {
    for (unsigned i = 0; i < count_; ++i) {
      if (faults_[i].page != fault.page) continue;
      const Time first = faults_[i].deadline;
      faults_[i] = fault;
      if (first < fault.deadline) faults_[i].deadline = first;
      return;
    }
    if (count_ < capacity) {
      faults_[count_++] = fault;
    } else if (fault.reason != WaitingFault::Reason::in_flight) {
      overflowed_ = true;  // who waits for a read ahead is woken by its end in any case
    }
  }
  /// Removes the i-th fault; the last one takes its place.
  WaitingFault take(unsigned i) noexcept {
    const WaitingFault fault = faults_[i];
    faults_[i] = faults_[--count_];
    return fault;
  }
  /// Forgets the pages of a range.
  void forget(PageRange range) noexcept {
    for (unsigned i = 0; i < count_;) {
      if (range.contains(faults_[i].page)) {
        (void)take(i);
      } else {
        ++i;
      }
    }
  }
  void clear() noexcept {
    count_ = 0;
    overflowed_ = false;
  }
  [[nodiscard]] unsigned size() const noexcept { return count_; }
  [[nodiscard]] const WaitingFault& operator[](unsigned i) const noexcept { return faults_[i]; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0 && !overflowed_; }
  /// Whether faults have found no room: their threads must be woken when there is some.
  [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }
  void clear_overflow() noexcept { overflowed_ = false; }

 private:
  WaitingFault faults_[capacity];
  unsigned count_ = 0;
  bool overflowed_ = false;
};

}  // namespace mitosis
