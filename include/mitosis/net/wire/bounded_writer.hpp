// SPDX-License-Identifier: MIT
// BoundedWriter: appends little-endian fields to memory of a fixed size. World: any (freestanding).
// For where nothing can be allocated: Writer's counterpart in the kernel.
#pragma once

#include <mitosis/base/span.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace mitosis::wire {

/// Appends fields to memory that it does not own. What finds no room is not written, and neither is
/// what comes after it: then `bytes()` is empty.
class BoundedWriter {
 public:
  explicit constexpr BoundedWriter(MutableBytes into) noexcept : into_(into) {}

  template <std::unsigned_integral T>
  constexpr void integer(T value) noexcept {
    const std::uint64_t wide = value;
    std::uint8_t raw[sizeof(T)];
    for (std::size_t i = 0; i < sizeof(T); ++i) raw[i] = static_cast<std::uint8_t>(wide >> (8 * i));
    this->raw(Bytes(raw));
  }
  constexpr void raw(Bytes bytes) noexcept {
    if (!ok_ || bytes.size() > into_.size() - at_) {
      ok_ = false;
      return;
    }
    for (std::size_t i = 0; i < bytes.size(); ++i) into_[at_ + i] = bytes[i];
    at_ += bytes.size();
  }
  /// All that was written; empty where it was more than there was room for.
  [[nodiscard]] constexpr Bytes bytes() const noexcept {
    return ok_ ? Bytes(into_.data(), at_) : Bytes();
  }

 private:
  MutableBytes into_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

}  // namespace mitosis::wire
