// SPDX-License-Identifier: MIT
// Sections: the header and section table of a descriptor, checked. World: any (freestanding).
// The outer half of the decoder: after it every section lies within the bytes; what is inside
// the sections is checked by check.hpp.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/mem/descriptor/record_array.hpp>
#include <mitosis/mem/descriptor/refuse.hpp>
#include <mitosis/mem/page.hpp>

#include <cstdint>

namespace mitosis::descriptor {

/// Bounds the work on a section table; version 1 has 24 sections.
inline constexpr std::uint32_t max_sections = 64;
/// One more than the last tag known.
inline constexpr std::uint32_t known_tags = static_cast<std::uint32_t>(Tag::held_locks) + 1;

/// Where each known section lies in bytes that it does not own. A section that is not there is
/// empty.
class Sections {
 public:
  /// Checks header and table. Sections with unknown tags are skipped, or refused if required.
  static Result<Sections> find(Bytes bytes) noexcept;

  [[nodiscard]] const Header& header() const noexcept { return header_; }
  [[nodiscard]] bool has(Tag tag) const noexcept { return at(tag).data() != nullptr; }
  [[nodiscard]] Bytes bytes(Tag tag) const noexcept { return at(tag); }
  template <class T>
  [[nodiscard]] RecordArray<T> records(Tag tag) const noexcept {
    return RecordArray<T>(at(tag));
  }

 private:
  [[nodiscard]] const Bytes& at(Tag tag) const noexcept {
    return found_[static_cast<std::uint32_t>(tag)];
  }
  Error check_header(Bytes bytes) noexcept;
  Error add(Bytes bytes, RecordArray<SectionRecord> table, std::uint32_t i) noexcept;

  Header header_ = {};
  Bytes found_[known_tags] = {};
};

/// Errc::ok in the result means "fine": a Result<void> is no smaller and reads no better here.
inline Error Sections::check_header(Bytes bytes) noexcept {
  if (bytes.size() < sizeof(Header)) return refuse("header", "shorter than a header");
  __builtin_memcpy(&header_, bytes.data(), sizeof header_);
  if (header_.magic != magic) return refuse("header.magic", "not a descriptor");
  if (header_.version != version) return refuse("header.version", "not version 1");
  if (header_.page_shift != page_shift) return refuse("header.page_shift", "not 4 KiB pages");
  for (const std::uint8_t r : header_.reserved0) {
    if (r != 0) return refuse("header.reserved0", "not zero");
  }
  if (header_.reserved1 != 0) return refuse("header.reserved1", "not zero");
  if (header_.total_bytes > max_bytes) return refuse("header.total_bytes", "over 64 MiB");
  if (header_.total_bytes != bytes.size()) {
    return refuse("header.total_bytes", "not the number of bytes given");
  }
  if (header_.section_count > max_sections) return refuse("header.section_count", "over 64");
  if (bytes.size() - sizeof(Header) < header_.section_count * sizeof(SectionRecord)) {
    return refuse("header.section_count", "the table is cut short");
  }
  return {};
}

inline Error Sections::add(Bytes bytes, RecordArray<SectionRecord> table,
                           std::uint32_t i) noexcept {
  const SectionRecord s = table[i];
  const std::uint64_t table_end = sizeof(Header) + table.size() * sizeof(SectionRecord);
  if ((s.flags & ~section_required) != 0) return refuse("sections", i, "flags", "unknown flag");
  if (s.offset % 8 != 0) return refuse("sections", i, "offset", "not 8-byte aligned");
  if (s.offset < table_end) return refuse("sections", i, "offset", "inside header or table");
  if (s.offset > bytes.size()) return refuse("sections", i, "offset", "past the end");
  if (s.bytes > bytes.size() - s.offset) return refuse("sections", i, "bytes", "past the end");
  for (std::uint32_t j = 0; j < i; ++j) {
    const SectionRecord before = table[j];
    if (before.tag == s.tag) return refuse("sections", i, "tag", "a tag that was there before");
    if (s.offset < before.offset + before.bytes && before.offset < s.offset + s.bytes) {
      return refuse("sections", i, "offset", "overlaps another section");
    }
  }
  if (s.tag == 0 || s.tag >= known_tags) {
    if ((s.flags & section_required) == 0) return {};
    Error error(Errc::bad_descriptor, "required section with unknown tag ");
    append_number(error.subject, s.tag);
    error.subject.append("; the sender runs a newer mitosis");
    return error.in("check descriptor");
  }
  found_[s.tag] = bytes.sub(s.offset, s.bytes);
  return {};
}

inline Result<Sections> Sections::find(Bytes bytes) noexcept {
  Sections sections;
  if (Error e = sections.check_header(bytes); e.code != Errc::ok) return e;
  const std::uint32_t count = sections.header_.section_count;
  const RecordArray<SectionRecord> table(bytes.sub(sizeof(Header), count * sizeof(SectionRecord)));
  for (std::uint32_t i = 0; i < count; ++i) {
    if (Error e = sections.add(bytes, table, i); e.code != Errc::ok) return e;
  }
  return sections;
}

}  // namespace mitosis::descriptor
