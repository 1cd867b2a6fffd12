// SPDX-License-Identifier: MIT
// Mapping: how one range of the child's address space comes about. World: user.
// The launcher maps by it, and the agent's pager serves faults by it: both compute the same list.
#pragma once

#include <mitosis/mem/page.hpp>

#include <cstdint>

namespace mitosis::restore {

enum class MappingKind : std::uint8_t {
  anonymous,      ///< private, no backing
  cache,          ///< private mapping of the machine's cache memfd, from `cache_page` on
  private_file,   ///< the local file of the same path, private
  shared_object,  ///< the object's memfd, shared
  shared_file,    ///< the local file of the same path, shared
  stack,          ///< anonymous, grows down
  stack_filler,   ///< room for the stack to grow into, zeros from the kernel; no VMA of the parent
  special,        ///< vdso or vvar: the launcher's own, moved there
};

/// What the userfaultfd is asked to report of a range.
enum class Faults : std::uint8_t {
  none,               ///< the kernel serves it
  missing,            ///< first touches; a page that the cache memfd holds needs no pager
  missing_and_minor,  ///< also first touches of pages that the cache memfd holds
};

/// A mapping without a place in the cache memfd.
inline constexpr std::uint64_t no_cache_page = ~std::uint64_t{0};

/// [start, end) in bytes, page-aligned. `vma` indexes the descriptor's VMAs (a filler: the
/// stack's). `cache_page` is the page of the cache memfd where the bytes of `start` are kept; a
/// stack has one too, though it is not mapped from there.
struct Mapping {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t cache_page = no_cache_page;
  std::uint32_t vma = 0;
  MappingKind kind = MappingKind::anonymous;
  Faults faults = Faults::none;

  [[nodiscard]] constexpr std::uint64_t bytes() const noexcept { return end - start; }
  [[nodiscard]] constexpr PageRange pages() const noexcept {
    return {page_of(start), (end - start) >> page_shift};
  }
  friend constexpr bool operator==(const Mapping&, const Mapping&) noexcept = default;
};

}  // namespace mitosis::restore
