// SPDX-License-Identifier: MIT
// CachePlaces: which page of a cache's memfd holds which page of the parent. World: user.
// The same VMAs give the same places on every machine and in every process that looks.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/mem/page.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace mitosis {

/// The pages of `pages` lie in the memfd one after the other, from its page `at` on.
struct CachePlace {
  PageRange pages;
  std::uint64_t at = 0;
};

/// Immutable. Between places there may be holes that stay empty for ever.
class CachePlaces {
 public:
  /// `places` by ascending page, neither pages nor memfd pages overlapping; else invalid_argument.
  static Result<CachePlaces> of(std::vector<CachePlace> places) {
    CachePlaces made;
    std::uint64_t pages_end = 0;
    for (const CachePlace& p : places) {
      if (index(p.pages.first) < pages_end || p.at < made.memfd_pages_ ||
          p.pages.bytes() > user_address_end || p.at > user_address_end >> page_shift) {
        return Error(Errc::invalid_argument, "places of a cache overlap or are out of order");
      }
      pages_end = index(p.pages.end());
      made.memfd_pages_ = p.at + p.pages.count;
    }
    made.places_ = std::move(places);
    return made;
  }

  /// The memfd page of `page`, and how many pages (it included) follow it there consecutively.
  struct Found {
    std::uint64_t at = 0;
    std::uint64_t count = 0;
  };
  [[nodiscard]] std::optional<Found> find(PageNumber page) const noexcept {
    const auto after =
        std::upper_bound(places_.begin(), places_.end(), page,
                         [](PageNumber p, const CachePlace& c) { return p < c.pages.first; });
    if (after == places_.begin()) return std::nullopt;
    const CachePlace& place = *(after - 1);
    if (!place.pages.contains(page)) return std::nullopt;
    const std::uint64_t into = page - place.pages.first;
    return Found{place.at + into, place.pages.count - into};
  }
  /// How many pages the memfd has room for.
  [[nodiscard]] std::uint64_t memfd_pages() const noexcept { return memfd_pages_; }

 private:
  std::vector<CachePlace> places_;
  std::uint64_t memfd_pages_ = 0;
};

}  // namespace mitosis
