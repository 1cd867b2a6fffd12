// SPDX-License-Identifier: MIT
// RecordArray<T>: records inside a descriptor's bytes, read by value. World: any (freestanding).
// The bytes come from the network or a mapping at any alignment, so a record is copied out of them,
// never pointed at.
#pragma once

#include <mitosis/base/span.hpp>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace mitosis::descriptor {

/// A random-access range of records over bytes that it does not own and that must outlive it.
/// Indexing is unchecked; bytes after the last whole record are ignored.
template <class T>
requires std::is_trivially_copyable_v<T>
class RecordArray {
 public:
  constexpr RecordArray() noexcept = default;
  explicit constexpr RecordArray(Bytes bytes) noexcept : bytes_(bytes) {}

  [[nodiscard]] constexpr std::size_t size() const noexcept { return bytes_.size() / sizeof(T); }
  [[nodiscard]] constexpr bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] T operator[](std::size_t i) const noexcept {
    T record;
    __builtin_memcpy(&record, bytes_.data() + i * sizeof(T), sizeof(T));
    return record;
  }

  /// Enough of an iterator for a range-for and for counting.
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    constexpr Iterator() noexcept = default;
    constexpr Iterator(const RecordArray* array, std::size_t at) noexcept
        : array_(array), at_(at) {}
    T operator*() const noexcept { return (*array_)[at_]; }
    constexpr Iterator& operator++() noexcept {
      ++at_;
      return *this;
    }
    constexpr Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++at_;
      return before;
    }
    friend constexpr bool operator==(const Iterator&, const Iterator&) noexcept = default;

   private:
    const RecordArray* array_ = nullptr;
    std::size_t at_ = 0;
  };
  /// Iterators point to this object: keep it while iterating (a range-for does).
  [[nodiscard]] constexpr Iterator begin() const noexcept { return {this, 0}; }
  [[nodiscard]] constexpr Iterator end() const noexcept { return {this, size()}; }

 private:
  Bytes bytes_;
};

}  // namespace mitosis::descriptor
