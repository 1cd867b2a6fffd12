// SPDX-License-Identifier: MIT
// The checks of a descriptor's shared memory. World: any (freestanding).
// As in check_memory.hpp, Errc::ok means fine.
#pragma once

#include <mitosis/mem/descriptor/check_memory.hpp>
#include <mitosis/mem/descriptor/shared_records.hpp>

namespace mitosis::descriptor {

inline Error check_shared_objects(const Sections& s) noexcept {
  if (!whole<SharedObjectRecord>(s.bytes(Tag::shared_objects))) {
    return refuse("shared_objects", "not whole records");
  }
  const auto objects = s.records<SharedObjectRecord>(Tag::shared_objects);
  if (objects.size() > max_shared_objects) return refuse("shared_objects", "over 48");
  constexpr std::uint64_t largest = std::uint64_t{1} << 62;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    const SharedObjectRecord o = objects[i];
    const auto bad = [i](const char* f, const char* why) {
      return refuse(Tag::shared_objects, i, f, why);
    };
    if (o.bytes > largest) return bad("bytes", "past the largest file");
    if (!string_ok(s, o.name)) return bad("name", "no such string");
    if (o.reserved != 0) return bad("reserved", "not zero");
  }
  return {};
}

/// After check_shared_objects: within their objects, ascending by object and page.
inline Error check_shared_runs(const Sections& s) noexcept {
  if (!whole<SharedRunRecord>(s.bytes(Tag::shared_runs))) {
    return refuse("shared_runs", "not whole records");
  }
  const auto objects = s.records<SharedObjectRecord>(Tag::shared_objects);
  const auto runs = s.records<SharedRunRecord>(Tag::shared_runs);
  constexpr std::uint64_t first = shared_source_start >> page_shift, end = 2 * first;
  std::uint32_t object = 0;
  std::uint64_t last_end = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const SharedRunRecord r = runs[i];
    const auto bad = [i](const char* f, const char* why) {
      return refuse(Tag::shared_runs, i, f, why);
    };
    if (r.object >= objects.size()) return bad("object", "no such object");
    if (r.object < object) return bad("object", "before the previous one");
    if (r.object > object) last_end = 0;
    object = r.object;
    const SharedObjectRecord o = objects[object];
    const std::uint64_t pages = (o.bytes + page_size - 1) >> page_shift;
    if (r.count == 0) return bad("count", "zero");
    if (r.page < last_end) return bad("page", "before the end of the previous one");
    if (r.page >= pages || r.count > pages - r.page) return bad("page", "past the object's end");
    last_end = r.page + r.count;
    if (r.source < first || r.source >= end || r.count > end - r.source) {
      return bad("source", "no place of shared pages");
    }
  }
  return {};
}

/// After check_vmas and check_shared_objects.
inline Error check_shared_vmas(const Sections& s) noexcept {
  const auto vmas = s.records<VmaRecord>(Tag::vmas);
  const std::size_t objects = s.records<SharedObjectRecord>(Tag::shared_objects).size();
  for (std::size_t i = 0; i < vmas.size(); ++i) {
    const VmaRecord v = vmas[i];
    if (v.kind != static_cast<std::uint32_t>(VmaKind::shared_object)) continue;
    if (v.file_inode >= objects) return refuse(Tag::vmas, i, "file_inode", "no such object");
    if ((v.file_offset & (page_size - 1)) != 0) {
      return refuse(Tag::vmas, i, "file_offset", "not page-aligned");
    }
    if (v.file_offset > (~std::uint64_t{0} >> 1) - (v.end - v.start)) {
      return refuse(Tag::vmas, i, "file_offset", "past the largest file");
    }
  }
  return {};
}

}  // namespace mitosis::descriptor
