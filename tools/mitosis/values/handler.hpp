// SPDX-License-Identifier: MIT
// parse_handler: the number that names a prepared parent on its machine. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace mitosis::tools {

/// A decimal number of 64 bits.
inline Result<HandlerId> parse_handler(std::string_view text) {
  std::uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, number);
  if (error == std::errc{} && rest == end) return HandlerId{number};
  const std::string about = "`" + std::string(text) + "` is not a whole number of 64 bits";
  return Error(Errc::invalid_argument, about.c_str()).in("read a handler id");
}

}  // namespace mitosis::tools
