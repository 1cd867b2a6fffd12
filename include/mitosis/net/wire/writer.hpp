// SPDX-License-Identifier: MIT
// Writer: appends little-endian fields to a growing buffer. World: both.
#pragma once

#include <mitosis/base/span.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::wire {

/// Appends fields; `bytes()` gives the buffer away.
class Writer {
 public:
  template <std::unsigned_integral T>
  void integer(T value) {
    const std::uint64_t wide = value;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      out_.push_back(static_cast<std::uint8_t>(wide >> (8 * i)));
    }
  }
  void raw(Bytes bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void reserve(std::size_t bytes) { out_.reserve(bytes); }

  [[nodiscard]] std::size_t size() const noexcept { return out_.size(); }
  [[nodiscard]] std::vector<std::uint8_t> bytes() && noexcept { return std::move(out_); }

 private:
  std::vector<std::uint8_t> out_;
};

}  // namespace mitosis::wire
