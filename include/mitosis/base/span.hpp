// SPDX-License-Identifier: MIT
// Span<T>: a view of consecutive objects. World: any (freestanding).
// std::span does not compile under kernel flags with clang 14, hence this subset of it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace mitosis {

/// A pointer and a count; owns nothing. Indexing is unchecked, `sub` clamps to what there is.
template <class T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}
  template <std::size_t N>
  constexpr Span(T (&array)[N]) noexcept : data_(array), size_(N) {}  // NOLINT: as std::span
  /// From anything with data() and size(), as std::span does (vector, array, string).
  template <class Range>
  requires requires(Range& r) {
    { r.data() } -> std::convertible_to<T*>;
    r.size();
  }
  constexpr Span(Range&& r) noexcept : data_(r.data()), size_(r.size()) {}  // NOLINT: as std::span

  [[nodiscard]] constexpr T* data() const noexcept { return data_; }
  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] constexpr T* begin() const noexcept { return data_; }
  [[nodiscard]] constexpr T* end() const noexcept { return data_ + size_; }
  constexpr T& operator[](std::size_t i) const noexcept { return data_[i]; }
  /// The part from `offset` on, at most `count` long.
  [[nodiscard]] constexpr Span sub(std::size_t offset,
                                   std::size_t count = ~std::size_t{0}) const noexcept {
    if (offset > size_) offset = size_;
    const std::size_t left = size_ - offset;
    return Span(data_ + offset, count < left ? count : left);
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

using Bytes = Span<const std::uint8_t>;
using MutableBytes = Span<std::uint8_t>;

}  // namespace mitosis
