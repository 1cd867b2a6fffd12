// SPDX-License-Identifier: MIT
// Deadline: until when a local call may wait. World: user.
#pragma once

#include <chrono>
#include <climits>

namespace mitosis::local {

/// A point of CLOCK_MONOTONIC.
using Deadline = std::chrono::steady_clock::time_point;

inline Deadline within(std::chrono::milliseconds time) noexcept {
  return std::chrono::steady_clock::now() + time;
}

/// What is left, for poll(2): rounded up, 0 once it has passed.
inline int milliseconds_left(Deadline deadline) noexcept {
  const auto left = deadline - std::chrono::steady_clock::now();
  if (left.count() <= 0) return 0;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return ms > INT_MAX ? INT_MAX : static_cast<int>(ms);
}

}  // namespace mitosis::local
