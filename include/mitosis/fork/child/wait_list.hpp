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
  enum class Reason : std::uint8_t { filling, busy, changing };
  PageNumber page{};
  PageNumber key{};  ///< with `filling`
  Time deadline = Time::never;
  Reason reason = Reason::busy;
};

/// A bag of waiting faults, each page once.
class WaitList {
 public:
  static constexpr unsigned capacity = 64;

  void add(const WaitingFault& fault) noexcept {
    for (unsigned i = 0; i < count_; ++i) {
      if (faults_[i].page == fault.page) return;
    }
    if (count_ == capacity) {
      overflowed_ = true;
    } else {
      faults_[count_++] = fault;
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
  /// Whether faults found no room since the last call: their threads must be woken.
  [[nodiscard]] bool take_overflow() noexcept {
    const bool was = overflowed_;
    overflowed_ = false;
    return was;
  }
  [[nodiscard]] bool overflowed() const noexcept { return overflowed_; }

 private:
  WaitingFault faults_[capacity];
  unsigned count_ = 0;
  bool overflowed_ = false;
};

}  // namespace mitosis
