// SPDX-License-Identifier: MIT
// Page numbers and ranges of them. World: any (freestanding).
#pragma once

#include <compare>
#include <cstdint>

namespace mitosis {

inline constexpr unsigned page_shift = 12;
inline constexpr std::uint64_t page_size = std::uint64_t{1} << page_shift;
/// User addresses end here: 47 bits less the guard page, on x86-64 and on arm64 with 48-bit ones.
inline constexpr std::uint64_t user_address_end = (std::uint64_t{1} << 47) - page_size;

/// A virtual address divided by the page size; of the child unless a name says otherwise.
enum class PageNumber : std::uint64_t {};

constexpr std::uint64_t index(PageNumber p) noexcept {
  return static_cast<std::uint64_t>(p);
}
constexpr std::uint64_t address(PageNumber p) noexcept {
  return index(p) << page_shift;
}
/// The page that holds an address.
constexpr PageNumber page_of(std::uint64_t virtual_address) noexcept {
  return PageNumber{virtual_address >> page_shift};
}
constexpr PageNumber operator+(PageNumber p, std::uint64_t pages) noexcept {
  return PageNumber{index(p) + pages};
}
constexpr std::uint64_t operator-(PageNumber a, PageNumber b) noexcept {
  return index(a) - index(b);
}

/// `count` consecutive pages from `first` on.
struct PageRange {
  PageNumber first{};
  std::uint64_t count = 0;
  [[nodiscard]] constexpr PageNumber end() const noexcept { return first + count; }
  [[nodiscard]] constexpr bool empty() const noexcept { return count == 0; }
  [[nodiscard]] constexpr bool contains(PageNumber p) const noexcept {
    return p >= first && p < end();
  }
  [[nodiscard]] constexpr std::uint64_t bytes() const noexcept { return count << page_shift; }
  friend constexpr bool operator==(const PageRange&, const PageRange&) noexcept = default;
};

/// The pages that both ranges have; empty where there are none.
constexpr PageRange intersect(PageRange a, PageRange b) noexcept {
  const PageNumber first = a.first > b.first ? a.first : b.first;
  const PageNumber last = a.end() < b.end() ? a.end() : b.end();
  return last > first ? PageRange{first, last - first} : PageRange{first, 0};
}

}  // namespace mitosis
