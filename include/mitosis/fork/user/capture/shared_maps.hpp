// SPDX-License-Identifier: MIT
// Shared mappings of a process, found without reading its whole map. World: user.
// The parent's clone() holds its memory map meanwhile, so whatever needs the map waits for it: one
// query (Linux 6.11) then takes a microsecond, the text of 45 mappings 20.
#pragma once

#include <sys/ioctl.h>

#include <mitosis/fork/user/capture/shared_memory.hpp>

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
/// `refused` is what `visit(mapping)` says, until it refuses one.
template <class Visit>
int query_shared(int maps, Result<void>& refused, Visit&& visit) {
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
    found.offset = query.vma_offset;
    found.inode = query.inode;
    found.device = std::uint64_t{query.dev_major} << 32 | query.dev_minor;
    refused = visit(found);
    if (!refused) return 0;
    query.query_addr = query.vma_end;
  }
}

}  // namespace detail

/// Finds all shared mappings and adds what they show of memory that no path leads to. Refuses the
/// first that cannot be captured. What is private and cannot be (huge pages of hugetlbfs, devices)
/// is rare, and found when the shadow is captured.
inline Result<void> add_shared_mappings(int process, SharedMemory& shared) {
  const auto visit = [&](const Mapping& m) -> Result<void> {
    if (Result<void> ok = check_mapping(m); !ok) return ok;
    return is_shared_object(m) ? shared.add(process, m) : Result<void>();
  };
  const Result<UniqueFd> maps = open_at(process, "maps");
  if (!maps) return maps.error();
  Result<void> done;
  const int err = detail::query_shared(maps->get(), done, visit);
  if (err != 0 && err != ENOENT) {  // an older kernel: read it all
    const Result<std::vector<char>> text = read_at(process, "maps", max_maps_text);
    if (!text) return text.error();
    const Result<std::vector<Mapping>> mappings = parse_maps(view(*text));
    if (!mappings) return mappings.error();
    for (const Mapping& m : *mappings) {
      done = m.shared ? visit(m) : check_mapping(m);
      if (!done) break;
    }
  }
  return done;
}

}  // namespace mitosis::capture
