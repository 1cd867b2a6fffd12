// SPDX-License-Identifier: MIT
// Marks of memory: what mlock(2) and madvise(2) have said of it. World: user.
// Nothing but /proc/PID/smaps tells them, which walks all page tables: some 13 ms a GiB. So the
// shadow is asked, and nobody waits; what a clone loses (mlock, MADV_DONTFORK) its parent, and only
// where it has any.
#pragma once

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// A range of memory and its marks.
struct MarkedRange {
  std::uint64_t start = 0, end = 0;  ///< bytes
  std::uint32_t marks = 0;           ///< descriptor::VmaFlag
};

namespace detail {

/// Of the words of a "VmFlags:" line.
inline std::uint32_t marks_of(std::string_view words) noexcept {
  using namespace descriptor;
  constexpr std::pair<std::string_view, VmaFlag> known[] = {
      {"lo", vma_locked},    {"dc", vma_dont_fork}, {"wf", vma_wipe_on_fork},
      {"dd", vma_dont_dump}, {"hg", vma_huge},      {"nh", vma_never_huge},
      {"mg", vma_mergeable}, {"rr", vma_random},    {"sr", vma_sequential}};
  std::uint32_t marks = 0;
  while (!words.empty()) {
    const std::string_view word = take_until(words, ' ');
    for (const auto& [name, flag] : known) marks |= word == name ? flag : 0u;
  }
  return marks;
}

/// A key's number and its rights are a thread's and a process's own, and no two machines need have
/// the same. Memory that may only be executed has one that the kernel has given it by itself.
inline Result<void> check_key(const Mapping& m, std::string_view key) {
  const auto number = capture::number(key.substr(std::min(key.find_first_not_of(' '), key.size())));
  if (number.value_or(0) == 0 || m.prot == PROT_EXEC) return {};
  const std::string about = fmt::format("the memory at {:x}-{:x} has protection key {} (pkeys(7))",
                                        m.start, m.end, *number);
  return Error(Errc::unsupported_process, about.c_str()).in("check memory");
}

/// Takes a prefix off; false where the text has another.
inline bool take_prefix(std::string_view& text, std::string_view prefix) noexcept {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

}  // namespace detail

/// The marked ranges of a /proc/PID/smaps, ascending. Refuses memory with a protection key.
inline Result<std::vector<MarkedRange>> parse_marks(std::string_view smaps) {
  std::vector<MarkedRange> marked;
  Mapping m;
  while (!smaps.empty()) {
    std::string_view line = take_until(smaps, '\n');
    if (detail::take_prefix(line, "VmFlags: ")) {
      const std::uint32_t marks = detail::marks_of(line);
      if (marks != 0) marked.push_back({m.start, m.end, marks});
    } else if (detail::take_prefix(line, "ProtectionKey:")) {
      if (Result<void> ok = detail::check_key(m, line); !ok) return ok.error();
    } else if (!line.empty() && (line.front() < 'A' || line.front() > 'Z')) {
      Mapping next;
      if (!detail::parse_mapping(line, next) || next.start < m.end) {
        return Error(Errc::unsupported_process, "its memory map cannot be read").in("read smaps");
      }
      m = next;
    }
  }
  return marked;
}

/// Those of a process, of an open /proc/PID, that have any of `wanted`, and only those marks.
inline Result<std::vector<MarkedRange>> read_marks(int process, std::uint32_t wanted = ~0u) {
  const Result<std::vector<char>> text = read_at(process, "smaps", max_maps_text);
  if (!text) return text.error();
  auto marked = parse_marks(view(*text));
  if (!marked) return marked;
  for (MarkedRange& range : *marked) range.marks &= wanted;
  std::erase_if(*marked, [](const MarkedRange& range) { return range.marks == 0; });
  return marked;
}

/// Adds the marks to the mappings; one that is marked in part becomes several. A stack stays one,
/// and has the marks that are on all of it; the kernel's own mappings have none.
inline void add_marks(std::vector<Mapping>& mappings, const std::vector<MarkedRange>& marked) {
  if (marked.empty()) return;
  std::vector<Mapping> parts;
  parts.reserve(mappings.size());
  auto next = marked.begin();
  for (Mapping& m : mappings) {
    while (next != marked.end() && next->end <= m.start) ++next;
    if (m.path.starts_with("[v")) {  // vdso, vvar, ...
      parts.push_back(m);
      continue;
    }
    const auto cut = [&](std::uint64_t end, std::uint32_t marks) {
      if (end <= m.start) return;
      Mapping part = m;
      part.end = end;
      part.marks |= marks;
      parts.push_back(part);
      if (m.inode != 0) m.offset += end - m.start;
      m.start = end;
    };
    const bool whole = m.path == "[stack]";
    for (auto range = next; range != marked.end() && range->start < m.end; ++range) {
      const bool covers = range->start <= m.start && range->end >= m.end;
      if (whole && !covers) continue;
      cut(std::max(range->start, m.start), 0);
      cut(std::min(range->end, m.end), range->marks);
    }
    cut(m.end, 0);
  }
  mappings.swap(parts);
}

}  // namespace mitosis::capture
