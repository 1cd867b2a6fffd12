// SPDX-License-Identifier: MIT
// refuse(): the error that names what is wrong with a descriptor. World: any (freestanding).
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>

namespace mitosis::descriptor {

/// The section's name in errors; empty for a tag that this version does not know.
constexpr const char* name(Tag tag) noexcept {
  switch (tag) {
    case Tag::mm:
      return "mm";
    case Tag::vmas:
      return "vmas";
    case Tag::runs:
      return "runs";
    case Tag::owners:
      return "owners";
    case Tag::sigactions:
      return "sigactions";
    case Tag::threads:
      return "threads";
    case Tag::xstate:
      return "xstate";
    case Tag::files:
      return "files";
    case Tag::strings:
      return "strings";
    case Tag::machine:
      return "machine";
    case Tag::limits:
      return "limits";
    case Tag::auxv:
      return "auxv";
    case Tag::vdso:
      return "vdso";
    case Tag::file_data:
      return "file_data";
    case Tag::process:
      return "process";
    case Tag::scheduling:
      return "scheduling";
    case Tag::timers:
      return "timers";
    case Tag::pending_signals:
      return "pending_signals";
    case Tag::shared_objects:
      return "shared_objects";
    case Tag::shared_runs:
      return "shared_runs";
    case Tag::tree:
      return "tree";
    case Tag::filters:
      return "filters";
    case Tag::filter_code:
      return "filter_code";
    case Tag::held_locks:
      return "held_locks";
  }
  return "";
}

template <std::size_t N>
constexpr void append_number(Text<N>& text, std::uint64_t value) noexcept {
  char digits[20] = {};
  std::size_t n = sizeof digits;
  do {
    digits[--n] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  text.append(digits + n, sizeof digits - n);
}

/// bad_descriptor: "what: why".
constexpr Error refuse(const char* what, const char* why) noexcept {
  Error error(Errc::bad_descriptor, what);
  error.subject.append(": ").append(why);
  error.in("check descriptor");
  return error;
}
/// bad_descriptor: "vmas[3].end: why"; without ".field" where that is null.
constexpr Error refuse(const char* section, std::uint64_t at, const char* field,
                       const char* why) noexcept {
  Error error(Errc::bad_descriptor, section);
  error.subject.append("[");
  append_number(error.subject, at);
  error.subject.append("]");
  if (field != nullptr) error.subject.append(".").append(field);
  error.subject.append(": ").append(why);
  error.in("check descriptor");
  return error;
}
constexpr Error refuse(Tag tag, std::uint64_t at, const char* field, const char* why) noexcept {
  return refuse(name(tag), at, field, why);
}

}  // namespace mitosis::descriptor
