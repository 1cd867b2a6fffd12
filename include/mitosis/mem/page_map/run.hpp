// SPDX-License-Identifier: MIT
// PageState, PageValue, PageRun: what a page map says about pages. World: any (freestanding).
#pragma once

#include <mitosis/mem/page.hpp>

#include <cstdint>

namespace mitosis {

/// What a page of a child is. A page of which the map says nothing is zero.
enum class PageState : std::uint8_t {
  remote = 1,     ///< its bytes are at `owner`'s page `source`
  in_flight = 2,  ///< the same, and read `op` is fetching it
  present = 3,    ///< the child has it: what it was is of no more interest
  cached = 4,     ///< the child has it, mapped from the machine's cache's page `source`
  failed = 5,     ///< could not be had: who touches it gets SIGBUS
};

/// Whether `owner`, `source` and `op` mean anything; where not, the map drops them, so that
/// pages from all over coalesce into one run once they are there.
constexpr bool has_source(PageState state) noexcept {
  return state == PageState::remote || state == PageState::in_flight || state == PageState::cached;
}

/// What is known of one page; of a run, what is known of its first: the others' sources follow
/// one by one, the rest is the same.
struct PageValue {
  PageState state = PageState::remote;
  std::uint16_t owner = 0;  ///< index into the descriptor's owners
  std::uint32_t op = 0;     ///< names the read in flight, 0 where there is none
  PageNumber source{};      ///< the owner's page
  friend constexpr bool operator==(const PageValue&, const PageValue&) noexcept = default;

  /// The value of the page `pages` further on in the same run.
  [[nodiscard]] constexpr PageValue after(std::uint64_t pages) const noexcept {
    PageValue v = *this;
    if (has_source(state)) v.source = source + pages;
    return v;
  }
  /// Without what the state gives no meaning to.
  [[nodiscard]] constexpr PageValue normal() const noexcept {
    PageValue v = has_source(state) ? *this : PageValue{state, 0, 0, {}};
    if (state != PageState::in_flight) v.op = 0;
    return v;
  }
};

/// Pages in a row with values in a row.
struct PageRun {
  PageRange range;
  PageValue value;  ///< of the first page
  friend constexpr bool operator==(const PageRun&, const PageRun&) noexcept = default;

  /// The part that lies in `clip`; the two must meet.
  [[nodiscard]] constexpr PageRun part(PageRange clip) const noexcept {
    const PageRange r = intersect(range, clip);
    return {r, value.after(r.first - range.first)};
  }
  /// Whether `next` goes on exactly where this one ends.
  [[nodiscard]] constexpr bool continues_in(const PageRun& next) const noexcept {
    return range.end() == next.range.first && value.after(range.count) == next.value;
  }
};
static_assert(sizeof(PageRun) == 32, "a page map's memory is counted in these");

}  // namespace mitosis
