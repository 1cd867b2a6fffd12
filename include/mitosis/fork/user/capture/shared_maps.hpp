// SPDX-License-Identifier: MIT
// Shared mappings of a process, found without reading its whole map. World: user.
// The parent's clone() holds its memory map meanwhile, so whatever needs the map waits for it: one
// query (Linux 6.11) then takes a microsecond, the text of 45 mappings 20.
#pragma once

#include <sys/ioctl.h>

#include <mitosis/fork/user/capture/mapping_kind.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::capture {

namespace detail {

// Linux 6.11's <linux/fs.h>; Debian 12's headers are of 6.1.
struct ProcmapQuery {
  std::uint64_t size, query_flags, query_addr;
  std::uint64_t vma_start, vma_end, vma_flags, vma_page_size, vma_offset, inode;
  std::uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
  std::uint64_t vma_name_addr, build_id_addr;
};
inline constexpr unsigned long procmap_query_request = _IOWR('f', 17, ProcmapQuery);
inline constexpr std::uint64_t procmap_shared = 0x08;
inline constexpr std::uint64_t procmap_covering_or_next = 0x10;

/// The errno of the query that ended the walk: ENOENT where there are no more shared mappings.
/// `refused` is set by the first that cannot be captured.
inline int query_shared(int maps, Result<void>& refused) {
  std::vector<char> name(4096);
  ProcmapQuery query = {};
  query.size = sizeof(query);
  query.query_flags = procmap_shared | procmap_covering_or_next;
  for (;;) {
    query.vma_name_addr = reinterpret_cast<std::uint64_t>(name.data());
    query.vma_name_size = static_cast<std::uint32_t>(name.size());
    query.build_id_size = 0;
    if (::ioctl(maps, procmap_query_request, &query) != 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    Mapping found;
    found.start = query.vma_start;
    found.end = query.vma_end;
    found.shared = true;
    if (query.vma_name_size > 0) found.path = {name.data(), query.vma_name_size - 1};  // and a zero
    refused = check_mapping(found);
    if (!refused) return 0;
    query.query_addr = query.vma_end;
  }
}

}  // namespace detail

/// Refuses the first shared mapping that cannot be captured. What is private and cannot be (huge
/// pages of hugetlbfs, devices) is rare, and found when the shadow is captured.
inline Result<void> check_shared_mappings(int process) {
  const Result<UniqueFd> maps = open_at(process, "maps");
  if (!maps) return maps.error();
  Result<void> refused;
  const int err = detail::query_shared(maps->get(), refused);
  if (err == 0 || err == ENOENT) return refused;
  // An older kernel: read it all.
  const Result<std::vector<char>> text = read_at(process, "maps", max_maps_text);
  if (!text) return text.error();
  const Result<std::vector<Mapping>> mappings = parse_maps(view(*text));
  if (!mappings) return mappings.error();
  return check_mappings(*mappings);
}

}  // namespace mitosis::capture
