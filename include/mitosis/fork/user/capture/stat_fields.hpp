// SPDX-License-Identifier: MIT
// StatFields: the words of /proc/PID/stat. World: user.
#pragma once

#include <mitosis/fork/user/capture/proc_text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mitosis::capture {

/// By their numbers in proc(5), which counts from 1. Views of the text that was split.
class StatFields {
 public:
  /// Nothing where it is no such text: that of a process that is gone is empty.
  static std::optional<StatFields> split(std::string_view text) {
    // The name in parentheses may hold anything, a parenthesis too.
    const std::size_t name_begin = text.find('('), name_end = text.rfind(')');
    if (name_end == std::string_view::npos || name_begin > name_end) return std::nullopt;
    if (name_end + 2 > text.size()) return std::nullopt;
    StatFields fields;
    fields.word_[2] = text.substr(name_begin + 1, name_end - name_begin - 1);
    text.remove_prefix(name_end + 2);
    for (std::size_t i = 3; i < fields.word_.size() && !text.empty(); ++i) {
      fields.word_[i] = take_until(text, ' ');
    }
    return fields;
  }

  [[nodiscard]] std::string_view name() const noexcept { return word_[2]; }
  /// A word from field 3 to 52; empty where the kernel does not tell it.
  [[nodiscard]] std::string_view operator[](std::size_t field) const noexcept {
    return word_[field];
  }
  /// The same as a number; 0 where it is none, or is below zero.
  [[nodiscard]] std::uint64_t number_at(std::size_t field) const noexcept {
    return number(word_[field]).value_or(0);
  }

 private:
  StatFields() = default;
  std::array<std::string_view, 53> word_;
};

}  // namespace mitosis::capture
