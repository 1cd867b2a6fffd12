// SPDX-License-Identifier: MIT
// Backoff: when something that failed may be tried again. World: any.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <cstdint>

namespace mitosis {

/// After a first failure at once, then after a pause that doubles with each further one in a row.
class Backoff {
 public:
  /// Nanoseconds.
  Backoff(std::uint64_t first, std::uint64_t longest) noexcept : first_(first), longest_(longest) {}

  void failed(Time now) noexcept {
    std::uint64_t pause = failures_ == 0 ? 0 : first_;
    for (std::uint32_t i = 1; i < failures_ && pause < longest_; ++i) pause *= 2;
    again_at_ = now + (pause < longest_ ? pause : longest_);
    ++failures_;
  }
  /// The next failure is a first one.
  void works() noexcept { failures_ = 0; }
  void forget() noexcept {
    failures_ = 0;
    again_at_ = Time{0};
  }
  /// Not before.
  [[nodiscard]] Time again_at() const noexcept { return again_at_; }

 private:
  std::uint64_t first_, longest_;
  std::uint32_t failures_ = 0;  ///< in a row
  Time again_at_{0};
};

}  // namespace mitosis
