// SPDX-License-Identifier: MIT
// layout(): how each VMA of a descriptor is mapped in a child. World: user.
// Pure: the launcher, which maps, and the agent, which serves the faults, both compute it from the
// same descriptor and the same answers to "is that file here the parent's?".
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/restore/mapping.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mitosis::restore {

struct LayoutOptions {
  bool cache_local = false;  ///< Cache<Local>: pages live in the machine's cache memfd
  /// Ascending indices of file VMAs whose file is missing or another one here: their pages come
  /// from the parent's machine.
  Span<const std::uint32_t> carried;
};

/// How far a stack can grow in a child beyond what it had reached in the parent.
inline constexpr std::uint64_t stack_room = std::uint64_t{8} << 20;
/// What stays unmapped between a stack and the mapping below it, as the kernel's own guard gap.
inline constexpr std::uint64_t stack_guard = std::uint64_t{1} << 20;
/// Pages between two VMAs in the cache memfd: a carried file's mapping, grown by mremap, must not
/// meet its neighbour's bytes, because no fault would tell.
inline constexpr std::uint64_t cache_hole_pages = 256;

/// The one run of a carried file VMA: all its pages, up to the file's end as of the capture, are
/// at the same addresses of owner 0. `count` is 0 where the VMA starts behind the file's end.
inline descriptor::RunRecord carried_run(const descriptor::VmaRecord& vma) noexcept {
  const std::uint64_t in_file =
      vma.file_size > vma.file_offset
          ? (vma.file_size - vma.file_offset + page_size - 1) >> page_shift
          : 0;
  const std::uint64_t pages = std::min((vma.end - vma.start) >> page_shift, in_file);
  const std::uint64_t first = vma.start >> page_shift;
  return {first, first, static_cast<std::uint32_t>(std::min<std::uint64_t>(pages, 0xffffffffu)),
          static_cast<std::uint16_t>(descriptor::RunKind::remote), 0};
}

/// Whether the pages of a file VMA come from the parent, not from the local file.
inline bool has_own_pages(const descriptor::VmaRecord& vma) noexcept {
  return vma.kind == static_cast<std::uint32_t>(descriptor::VmaKind::private_file) &&
         (vma.flags & descriptor::vma_dirty) != 0;
}

/// Turns VMAs into mappings, in their order; keeps what depends on the ones before.
class LayoutWalk {
 public:
  LayoutWalk(const DescriptorView& view, LayoutOptions options) noexcept
      : runs_(view.runs()), options_(options) {}

  /// Appends the mappings of the next VMA.
  void add(std::uint32_t index, const descriptor::VmaRecord& vma, std::vector<Mapping>& to) {
    using descriptor::VmaKind;
    Mapping m = {vma.start, vma.end, no_cache_page, index, MappingKind::anonymous, Faults::none};
    const bool runs = has_runs(vma);
    const bool carried = is_carried(index);
    if (options_.cache_local && (runs || descriptor::is_file(vma.kind))) take_place(m);
    switch (VmaKind{vma.kind}) {
      case VmaKind::anonymous:
        if (runs) fill(m);
        break;
      case VmaKind::stack:
        if (Mapping filler = below(m); filler.bytes() != 0) to.push_back(filler);
        m.kind = MappingKind::stack;
        m.faults = Faults::missing;  // a memfd mapping cannot grow down
        break;
      case VmaKind::private_file:
        if (has_own_pages(vma)) {
          fill(m);
        } else if (carried) {
          fill(m);
        } else {
          m.kind = MappingKind::private_file;
        }
        break;
      case VmaKind::shared_file:
        if (carried) {
          fill(m);
        } else {
          m.kind = MappingKind::shared_file;
        }
        break;
      case VmaKind::shared_object:
        m.kind = MappingKind::shared_object;
        break;
      case VmaKind::vdso:
      case VmaKind::vvar:
      case VmaKind::vvar_vclock:
        m.kind = MappingKind::special;
        break;
    }
    to.push_back(m);
    last_end_ = vma.end;
  }

 private:
  /// Runs and VMAs ascend together; a run lies within one VMA.
  bool has_runs(const descriptor::VmaRecord& vma) noexcept {
    const auto start = [this] { return runs_[run_].page << page_shift; };
    while (run_ < runs_.size() && start() < vma.start) ++run_;
    const bool found = run_ < runs_.size() && start() < vma.end;
    while (run_ < runs_.size() && start() < vma.end) ++run_;
    return found;
  }
  bool is_carried(std::uint32_t index) noexcept {
    const auto& list = options_.carried;
    while (carried_ < list.size() && list[carried_] < index) ++carried_;
    return carried_ < list.size() && list[carried_] == index;
  }
  /// Every VMA that may ever have fetched pages has a place in the memfd, even where it is not
  /// mapped from there (a stack; a file that is not carried): children of one parent that differ
  /// in their carried files still share one cache.
  void take_place(Mapping& m) noexcept {
    m.cache_page = next_cache_page_;
    next_cache_page_ += (m.bytes() >> page_shift) + cache_hole_pages;
  }
  /// Has the pager fill the mapping: from the cache if there is one, else page by page. Minor
  /// faults too, always: reads land in the memfd itself, so a page of it may be there but not
  /// whole.
  void fill(Mapping& m) const noexcept {
    m.faults = options_.cache_local ? Faults::missing_and_minor : Faults::missing;
    if (options_.cache_local) m.kind = MappingKind::cache;
  }
  /// Without it the kernel may place a new mapping right below the stack: the child's base for
  /// mappings is its launcher's, not its parent's.
  [[nodiscard]] Mapping below(const Mapping& stack) const noexcept {
    const std::uint64_t floor = last_end_ + stack_guard;
    std::uint64_t start = stack.start > stack_room ? stack.start - stack_room : 0;
    start = std::min(std::max(start, floor), stack.start);
    return {start, stack.start, no_cache_page, stack.vma, MappingKind::stack_filler, Faults::none};
  }

  const descriptor::RecordArray<descriptor::RunRecord> runs_;
  const LayoutOptions options_;
  std::size_t run_ = 0;
  std::size_t carried_ = 0;
  std::uint64_t last_end_ = 0;
  std::uint64_t next_cache_page_ = 0;
};

/// The child's mappings by ascending address. Everything that `carried` names must be a file VMA
/// without pages of its own, in ascending order: else invalid_argument.
inline Result<std::vector<Mapping>> layout(const DescriptorView& view, LayoutOptions options) {
  const auto vmas = view.vmas();
  for (std::size_t i = 0; i < options.carried.size(); ++i) {
    const std::uint32_t at = options.carried[i];
    if (at >= vmas.size() || !descriptor::is_file(vmas[at].kind) || has_own_pages(vmas[at]) ||
        (i > 0 && at <= options.carried[i - 1])) {
      Error error(Errc::invalid_argument, "carried VMA ");
      descriptor::append_number(error.subject, at);
      error.subject.append(": not a file's, or out of order");
      return error.in("lay memory out");
    }
  }
  std::vector<Mapping> mappings;
  mappings.reserve(vmas.size() + 1);
  LayoutWalk walk(view, options);
  std::uint32_t index = 0;
  for (const descriptor::VmaRecord& vma : vmas) walk.add(index++, vma, mappings);
  return mappings;
}

/// How many pages the cache memfd must have room for.
inline std::uint64_t cache_pages(Span<const Mapping> mappings) noexcept {
  std::uint64_t end = 0;
  for (const Mapping& m : mappings) {
    if (m.cache_page != no_cache_page) end = m.cache_page + (m.bytes() >> page_shift);
  }
  return end;
}

}  // namespace mitosis::restore
