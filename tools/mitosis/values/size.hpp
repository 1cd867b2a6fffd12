// SPDX-License-Identifier: MIT
// parse_size: "4G" to bytes. World: user.
#pragma once

#include <mitosis/base/result.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace mitosis::tools {

/// A whole number, then nothing (bytes) or one of K M G T, "KiB" and "kb" alike: all of 1024.
inline Result<std::uint64_t> parse_size(std::string_view text) {
  const auto bad = [text](const char* why) {
    return Error(Errc::invalid_argument, ("`" + std::string(text) + "` " + why).c_str())
        .in("read a size");
  };
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc::result_out_of_range) return bad("is too large");
  if (error != std::errc{}) return bad("is not a size such as 512M or 4G");
  std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  unsigned shift = 0;
  if (!unit.empty()) {
    constexpr std::string_view units = "kmgt";
    const std::size_t at = units.find(static_cast<char>(unit[0] | 0x20));
    if (at != std::string_view::npos) {
      shift = 10 * static_cast<unsigned>(at + 1);
      unit.remove_prefix(1);
      if (!unit.empty() && unit[0] == 'i') unit.remove_prefix(1);
    }
    if (!unit.empty() && unit != "B" && unit != "b") return bad("has a unit other than K M G T");
  }
  if (shift != 0 && number > (~std::uint64_t{0} >> shift)) return bad("is too large");
  return number << shift;
}

}  // namespace mitosis::tools
