// SPDX-License-Identifier: MIT
// Text<N>: a string of at most N bytes held in place. World: any (freestanding).
// Errors and wire records carry names in it, so that neither needs an allocation.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mitosis {

/// A bounded string. Longer input is cut at N bytes; the content is always zero-terminated.
template <std::size_t N>
class Text {
 public:
  constexpr Text() noexcept = default;
  constexpr Text(const char* source) noexcept {
    append(source);
  }  // NOLINT: literals read best bare

  /// Appends a zero-terminated string (null is an empty one), cut where the room ends.
  constexpr Text& append(const char* source) noexcept {
    if (source != nullptr) {
      while (*source != '\0' && size_ < N) data_[size_++] = *source++;
    }
    data_[size_] = '\0';
    return *this;
  }
  /// Appends `length` bytes, cut where the room ends.
  constexpr Text& append(const char* source, std::size_t length) noexcept {
    for (std::size_t i = 0; i < length && size_ < N; ++i) data_[size_++] = source[i];
    data_[size_] = '\0';
    return *this;
  }
  [[nodiscard]] constexpr const char* c_str() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  static constexpr std::size_t capacity = N;

 private:
  char data_[N + 1] = {};
  std::size_t size_ = 0;
};

}  // namespace mitosis
