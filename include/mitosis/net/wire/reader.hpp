// SPDX-License-Identifier: MIT
// Reader: takes little-endian fields out of received bytes, never beyond their end.
// World: any (freestanding). Failure is sticky, so that a decoder checks once, at its end.
#pragma once

#include <mitosis/base/span.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace mitosis::wire {

/// A cursor over bytes that it does not own. After the first failure every read gives zero or
/// nothing and `ok()` stays false.
class Reader {
 public:
  constexpr explicit Reader(Bytes bytes) noexcept : bytes_(bytes) {}

  /// The next integer; 0 where the bytes do not suffice.
  template <std::unsigned_integral T>
  [[nodiscard]] constexpr T integer() noexcept {
    const Bytes raw = take(sizeof(T));
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < raw.size(); ++i) value |= std::uint64_t{raw[i]} << (8 * i);
    return static_cast<T>(value);
  }
  /// The next `count` bytes, all or (failed) none; a view into the bytes given at construction.
  [[nodiscard]] constexpr Bytes take(std::uint64_t count) noexcept {
    if (!ok_ || count > left()) {
      ok_ = false;
      return {};
    }
    const Bytes taken = bytes_.sub(at_, static_cast<std::size_t>(count));
    at_ += taken.size();
    return taken;
  }
  /// Refuses what was read: a value out of its range.
  constexpr void fail() noexcept { ok_ = false; }

  [[nodiscard]] constexpr bool ok() const noexcept { return ok_; }
  [[nodiscard]] constexpr std::size_t left() const noexcept { return bytes_.size() - at_; }
  /// Nothing failed and nothing is left over.
  [[nodiscard]] constexpr bool finished() const noexcept { return ok_ && left() == 0; }

 private:
  Bytes bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace mitosis::wire
