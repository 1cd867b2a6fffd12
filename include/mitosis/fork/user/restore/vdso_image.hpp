// SPDX-License-Identifier: MIT
// vdso_entries(): the functions that a vdso exports. World: user.
// The parent's comes from another machine and may be hostile: each number is checked before it is
// used. Source: elf(5).
#pragma once

#include <elf.h>

#include <mitosis/base/span.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace mitosis::restore {

/// An exported function. `name` is without "__vdso_", and points into the image.
struct VdsoEntry {
  std::string_view name;
  std::uint64_t offset = 0;  ///< of its code in the image
};

namespace detail {
/// A copy of what lies at `offset`; false where that is not all within the image.
template <class T>
bool read_at(Bytes image, std::uint64_t offset, T& to) noexcept {
  if (offset > image.size() || image.size() - offset < sizeof(T)) return false;
  std::memcpy(&to, image.data() + offset, sizeof(T));
  return true;
}

/// Where the dynamic symbols and their names are, as offsets in the image.
struct VdsoTables {
  std::uint64_t base = 0;  ///< the address that the image was linked for
  std::uint64_t symbols = 0, strings = 0, strings_end = 0;
};

inline bool find_tables(Bytes image, VdsoTables& found) noexcept {
  Elf64_Ehdr header;
  if (!read_at(image, 0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_phentsize != sizeof(Elf64_Phdr)) {
    return false;
  }
  bool loaded = false;
  Elf64_Phdr dynamic = {};
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    if (!read_at(image, header.e_phoff + i * sizeof segment, segment)) return false;
    if (segment.p_type == PT_LOAD && !loaded) {
      if (segment.p_offset != 0) return false;
      found.base = segment.p_vaddr;
      loaded = true;
    }
    if (segment.p_type == PT_DYNAMIC) dynamic = segment;
  }
  if (!loaded || dynamic.p_type != PT_DYNAMIC) return false;
  std::uint64_t symbols = 0, strings = 0, bytes = 0;
  for (std::uint64_t at = 0; at < dynamic.p_filesz; at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    if (!read_at(image, dynamic.p_offset + at, entry)) return false;
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_SYMTAB) symbols = entry.d_un.d_ptr - found.base;
    if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr - found.base;
    if (entry.d_tag == DT_STRSZ) bytes = entry.d_un.d_val;
  }
  if (symbols == 0 || strings <= symbols || strings > image.size()) return false;
  found.symbols = symbols;
  found.strings = strings;
  found.strings_end = strings + std::min<std::uint64_t>(bytes, image.size() - strings);
  return true;
}
}  // namespace detail

/// All of them, aliases too; nothing where that is no vdso whose symbols end where their names
/// begin, as in every kernel's. What is not whole is left out.
inline std::vector<VdsoEntry> vdso_entries(Bytes image) {
  std::vector<VdsoEntry> entries;
  detail::VdsoTables tables;
  if (!detail::find_tables(image, tables)) return entries;
  for (std::uint64_t at = tables.symbols; at + sizeof(Elf64_Sym) <= tables.strings;
       at += sizeof(Elf64_Sym)) {
    Elf64_Sym symbol;
    if (!detail::read_at(image, at, symbol)) break;
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_shndx == SHN_UNDEF) continue;
    const std::uint64_t offset = symbol.st_value - tables.base;
    const std::uint64_t name_at = tables.strings + symbol.st_name;
    if (offset >= image.size() || name_at >= tables.strings_end) continue;
    const auto* const text = reinterpret_cast<const char*>(image.data() + name_at);
    std::string_view name(text, ::strnlen(text, tables.strings_end - name_at));
    if (name.size() == tables.strings_end - name_at) continue;  // not terminated
    constexpr std::string_view prefix = "__vdso_";
    if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    entries.push_back({name, offset});
  }
  return entries;
}

}  // namespace mitosis::restore
