// SPDX-License-Identifier: MIT
// parse_duration: "1500ms", "60s", "5m", "2h" to milliseconds. World: user.
#pragma once

#include <mitosis/base/result.hpp>

#include <charconv>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace mitosis::tools {

/// A whole number and its unit; without one it is seconds. At most 366 days.
inline Result<std::chrono::milliseconds> parse_duration(std::string_view text) {
  const auto bad = [text](const char* why) {
    return Error(Errc::invalid_argument, ("`" + std::string(text) + "` " + why).c_str())
        .in("read a duration");
  };
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc::result_out_of_range) return bad("is too long");
  if (error != std::errc{}) return bad("is not a duration such as 500ms, 60s, 5m or 2h");
  const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
  std::uint64_t factor = 0;
  if (unit == "ms") factor = 1;
  if (unit == "s" || unit.empty()) factor = 1000;
  if (unit == "m" || unit == "min") factor = 60'000;
  if (unit == "h") factor = 3'600'000;
  if (factor == 0) return bad("has a unit other than ms, s, m and h");
  constexpr std::uint64_t longest = std::uint64_t{366} * 24 * 3'600'000;
  if (number > longest / factor) return bad("is too long");
  return std::chrono::milliseconds(number * factor);
}

}  // namespace mitosis::tools
