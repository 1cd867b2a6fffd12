// SPDX-License-Identifier: MIT
// Origin: where each page of a descriptor comes from. World: any (freestanding).
// A child's page map names a page by its number in the descriptor (its *key*), which survives
// mremap and is what the machine's cache goes by; this table leads from the key to its owner.
#pragma once

#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/page.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis {

/// Looks keys up in a descriptor's records, which must outlive it. Copying is cheap.
class Origin {
 public:
  struct Place {
    std::uint16_t owner = 0;
    PageNumber source{};      ///< the owner's page
    std::uint64_t count = 0;  ///< pages from the key on that lie consecutively at the owner
  };

  Origin() noexcept = default;
  explicit Origin(const DescriptorView& view) noexcept : vmas_(view.vmas()), runs_(view.runs()) {}

  /// Who has the key's bytes. A page in no run is the nearest ancestor's, at the same address: so
  /// are the pages of a file that this machine does not have (Engine::carry).
  [[nodiscard]] Place locate(PageNumber key) const noexcept {
    const std::size_t at = last_not_after(runs_, index(key), run_start);
    if (at != none) {
      const auto run = runs_[at];
      const std::uint64_t into = index(key) - run.page;
      if (into < run.count) return {run.owner, PageNumber{run.source + into}, run.count - into};
    }
    const std::size_t next = at == none ? 0 : at + 1;
    const std::uint64_t end = next < runs_.size() ? runs_[next].page : user_address_end;
    return {0, key, end - index(key)};
  }

  /// Pages from the key to the end of its VMA, at least 1.
  [[nodiscard]] std::uint64_t left_in_vma(PageNumber key) const noexcept {
    const std::size_t at = last_not_after(vmas_, address(key), vma_start);
    if (at == none) return 1;
    const std::uint64_t end = vmas_[at].end;
    return end > address(key) ? (end - address(key)) >> page_shift : 1;
  }

  [[nodiscard]] const auto& runs() const noexcept { return runs_; }

 private:
  static constexpr std::size_t none = ~std::size_t{0};
  static std::uint64_t run_start(const descriptor::RunRecord& r) noexcept { return r.page; }
  static std::uint64_t vma_start(const descriptor::VmaRecord& v) noexcept { return v.start; }

  /// The index of the last record that starts at or before `value`.
  template <class Records, class Start>
  static std::size_t last_not_after(const Records& records, std::uint64_t value,
                                    Start start) noexcept {
    std::size_t low = 0;
    std::size_t high = records.size();
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (start(records[middle]) <= value) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low == 0 ? none : low - 1;
  }

  descriptor::RecordArray<descriptor::VmaRecord> vmas_;
  descriptor::RecordArray<descriptor::RunRecord> runs_;
};

}  // namespace mitosis
