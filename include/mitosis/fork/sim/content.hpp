// SPDX-License-Identifier: MIT
// Content: one page's bytes, shared until written. World: sim.
#pragma once

#include <mitosis/mem/page.hpp>

#include <cstdint>
#include <cstring>
#include <memory>

namespace mitosis::sim {

/// Points to `page_size` bytes. A snapshot shares them; who writes copies first.
using Content = std::shared_ptr<std::uint8_t>;

inline Content new_content() {
  return {new std::uint8_t[page_size](), std::default_delete<std::uint8_t[]>()};
}
inline Content copy_of(const std::uint8_t* bytes) {
  Content fresh(new std::uint8_t[page_size], std::default_delete<std::uint8_t[]>());
  std::memcpy(fresh.get(), bytes, page_size);
  return fresh;
}

/// Fills a page with what only this stamp gives; 0 gives zeros.
inline void fill(std::uint8_t* page, std::uint64_t stamp) {
  std::memset(page, static_cast<int>(stamp & 0xff), page_size);
  std::memcpy(page, &stamp, sizeof stamp);
  std::memcpy(page + page_size - sizeof stamp, &stamp, sizeof stamp);
}

/// The stamp of a page, or `torn` where the page is not as `fill` makes it.
inline constexpr std::uint64_t torn = ~std::uint64_t{0};
inline std::uint64_t stamp_of(const std::uint8_t* page) {
  std::uint64_t first = 0, last = 0;
  std::memcpy(&first, page, sizeof first);
  std::memcpy(&last, page + page_size - sizeof last, sizeof last);
  const bool whole = first == last && page[page_size / 2] == static_cast<std::uint8_t>(first);
  return whole ? first : torn;
}

}  // namespace mitosis::sim
