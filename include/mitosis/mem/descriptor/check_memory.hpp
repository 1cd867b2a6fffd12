// SPDX-License-Identifier: MIT
// The checks of a descriptor's memory sections: mm, vmas, owners, runs. World: any (freestanding).
// Each takes bounds-checked sections and returns Errc::ok, or the error that names the field.
// What is behind an address is the child's own affair; that it is a user address is ours.
#pragma once

#include <mitosis/mem/descriptor/sections.hpp>

namespace mitosis::descriptor {

/// `sizeof(T)` divides the section; whether it may be empty is the caller's.
template <class T>
constexpr bool whole(Bytes section) noexcept {
  return section.size() % sizeof(T) == 0;
}

/// The string starts within the strings section (which ends with a zero: see check_strings).
inline bool string_ok(const Sections& s, std::uint32_t offset) noexcept {
  return offset < s.bytes(Tag::strings).size();
}
inline bool string_ok_or_none(const Sections& s, std::uint32_t offset) noexcept {
  return offset == no_string || string_ok(s, offset);
}
/// A string that is there and not empty: what can be opened.
inline bool path_ok(const Sections& s, std::uint32_t offset) noexcept {
  return string_ok(s, offset) && s.bytes(Tag::strings)[offset] != 0;
}
/// Zero-terminated within its own array.
template <std::size_t N>
constexpr bool terminated(const char (&text)[N]) noexcept {
  for (const char c : text) {
    if (c == '\0') return true;
  }
  return false;
}

inline Error check_mm(const Sections& s) noexcept {
  if (s.bytes(Tag::mm).size() != sizeof(MmRecord)) return refuse("mm", "not one record");
  const MmRecord mm = s.records<MmRecord>(Tag::mm)[0];
  struct {
    std::uint64_t start, end;
    const char* name;
  } const ranges[] = {{mm.start_code, mm.end_code, "mm.end_code"},
                      {mm.start_data, mm.end_data, "mm.end_data"},
                      {mm.start_brk, mm.brk, "mm.brk"},
                      {mm.start_stack, mm.start_stack, "mm.start_stack"},
                      {mm.arg_start, mm.arg_end, "mm.arg_end"},
                      {mm.env_start, mm.env_end, "mm.env_end"}};
  for (const auto& r : ranges) {
    if (r.end > user_address_end) return refuse(r.name, "not a user address");
    if (r.end < r.start) return refuse(r.name, "before its start");
  }
  if (!string_ok_or_none(s, mm.exe)) return refuse("mm.exe", "no such string");
  if (!string_ok_or_none(s, mm.cwd)) return refuse("mm.cwd", "no such string");
  if (mm.umask > 0777) return refuse("mm.umask", "over 0777");
  if (mm.reserved != 0) return refuse("mm.reserved", "not zero");
  return {};
}

constexpr bool is_file(std::uint32_t vma_kind) noexcept {
  return vma_kind == static_cast<std::uint32_t>(VmaKind::private_file) ||
         vma_kind == static_cast<std::uint32_t>(VmaKind::shared_file);
}

inline Error check_vmas(const Sections& s) noexcept {
  if (!whole<VmaRecord>(s.bytes(Tag::vmas))) return refuse("vmas", "not whole records");
  const auto vmas = s.records<VmaRecord>(Tag::vmas);
  constexpr std::uint64_t in_page = page_size - 1;
  constexpr std::uint32_t last_kind = static_cast<std::uint32_t>(VmaKind::shared_object);
  bool seen[last_kind + 1] = {};
  std::uint64_t last_end = 0;
  for (std::size_t i = 0; i < vmas.size(); ++i) {
    const VmaRecord v = vmas[i];
    const auto bad = [i](const char* f, const char* why) { return refuse(Tag::vmas, i, f, why); };
    if ((v.start & in_page) != 0) return bad("start", "not page-aligned");
    if ((v.end & in_page) != 0) return bad("end", "not page-aligned");
    if (v.start < last_end) return bad("start", "before the end of the previous one");
    if (v.end <= v.start) return bad("end", "not after start");
    if (v.end > user_address_end) return bad("end", "not a user address");
    last_end = v.end;
    if (v.kind == 0 || v.kind > last_kind) return bad("kind", "unknown");
    // There is one of each in a process, and a restorer moves exactly one.
    if (v.kind >= static_cast<std::uint32_t>(VmaKind::vdso) &&
        v.kind <= static_cast<std::uint32_t>(VmaKind::vvar_vclock) && seen[v.kind]) {
      return bad("kind", "a second one of its kind");
    }
    seen[v.kind] = true;
    if ((v.prot & ~7u) != 0) return bad("prot", "more than read, write, execute");
    if ((v.flags & ~vma_known_flags) != 0) return bad("flags", "unknown flag");
    if (!string_ok_or_none(s, v.path)) return bad("path", "no such string");
    if (!is_file(v.kind)) continue;
    if (!path_ok(s, v.path)) return bad("path", "missing for a file");
    if ((v.file_offset & in_page) != 0) return bad("file_offset", "not page-aligned");
    if (v.file_offset > (~std::uint64_t{0} >> 1) - (v.end - v.start)) {
      return bad("file_offset", "past the largest file");
    }
  }
  return {};
}

inline Error check_owners(const Sections& s) noexcept {
  if (!whole<OwnerRecord>(s.bytes(Tag::owners))) return refuse("owners", "not whole records");
  const auto owners = s.records<OwnerRecord>(Tag::owners);
  if (owners.empty()) return refuse("owners", "none");
  if (owners.size() > 0xffff) return refuse("owners", "more than runs can number");
  for (std::size_t i = 0; i < owners.size(); ++i) {
    const OwnerRecord o = owners[i];
    if (!terminated(o.address)) return refuse(Tag::owners, i, "address", "not zero-terminated");
    if (o.machine == static_cast<std::uint32_t>(MachineId::none)) {
      return refuse(Tag::owners, i, "machine", "no machine's id");
    }
  }
  return {};
}

/// What a shared file maps is the file's, what vvar shows the machine's: neither is carried.
constexpr bool may_have_runs(std::uint32_t kind) noexcept {
  return kind != static_cast<std::uint32_t>(VmaKind::shared_file) &&
         kind != static_cast<std::uint32_t>(VmaKind::shared_object) &&
         kind != static_cast<std::uint32_t>(VmaKind::vvar) &&
         kind != static_cast<std::uint32_t>(VmaKind::vvar_vclock);
}

/// After check_vmas and check_owners. One walk over both arrays.
inline Error check_runs(const Sections& s) noexcept {
  if (!whole<RunRecord>(s.bytes(Tag::runs))) return refuse("runs", "not whole records");
  const auto runs = s.records<RunRecord>(Tag::runs);
  const auto vmas = s.records<VmaRecord>(Tag::vmas);
  const std::size_t owners = s.records<OwnerRecord>(Tag::owners).size();
  constexpr std::uint64_t end = user_address_end >> page_shift;
  std::uint64_t last_end = 0;
  std::size_t v = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunRecord r = runs[i];
    const auto bad = [i](const char* f, const char* why) { return refuse(Tag::runs, i, f, why); };
    if (r.count == 0) return bad("count", "zero");
    if (r.page >= end || r.count > end - r.page) return bad("page", "not user addresses");
    if (r.source >= end || r.count > end - r.source) return bad("source", "not user addresses");
    if (r.page < last_end) return bad("page", "before the end of the previous one");
    last_end = r.page + r.count;
    if (r.kind != static_cast<std::uint16_t>(RunKind::remote)) return bad("kind", "unknown");
    if (r.owner >= owners) return bad("owner", "no such owner");
    while (v < vmas.size() && vmas[v].end <= r.page << page_shift) ++v;
    if (v == vmas.size() || r.page << page_shift < vmas[v].start) return bad("page", "in no vma");
    if (last_end << page_shift > vmas[v].end) return bad("count", "reaches out of its vma");
    if (!may_have_runs(vmas[v].kind)) return bad("page", "in a vma whose pages are not carried");
  }
  return {};
}

}  // namespace mitosis::descriptor
