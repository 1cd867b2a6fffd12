// SPDX-License-Identifier: MIT
// Ring<T>: a queue in one growing array, which keeps its memory when it runs empty. World: user.
// (std::deque allocates and frees a block every few items of a queue that merely moves along.)
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace mitosis::tcp {

/// First in, first out; [0] is the oldest. T is copied around when it grows: small plain data.
template <class T>
class Ring {
 public:
  void push_back(const T& item) {
    if (size_ == slots_.size()) grow();
    slots_[wrap(first_ + size_)] = item;
    ++size_;
  }
  void pop_front() noexcept {
    first_ = wrap(first_ + 1);
    --size_;
  }
  void clear() noexcept { size_ = 0; }
  T& operator[](std::size_t i) noexcept { return slots_[wrap(first_ + i)]; }
  const T& operator[](std::size_t i) const noexcept { return slots_[wrap(first_ + i)]; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// Drops those of which `keep(element)` says false; the others stay in their order.
  template <class Keep>
  void keep_if(Keep keep) {
    for (std::size_t left = size(); left > 0; --left) {
      const T first = (*this)[0];
      pop_front();
      if (keep(first)) push_back(first);
    }
  }

 private:
  [[nodiscard]] std::size_t wrap(std::size_t i) const noexcept { return i & (slots_.size() - 1); }
  void grow() {
    std::vector<T> more(slots_.empty() ? 16 : 2 * slots_.size());
    for (std::size_t i = 0; i < size_; ++i) more[i] = (*this)[i];
    slots_ = std::move(more);
    first_ = 0;
  }

  std::vector<T> slots_;  ///< a power of two of them
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace mitosis::tcp
