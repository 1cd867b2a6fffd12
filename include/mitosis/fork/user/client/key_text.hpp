// SPDX-License-Identifier: MIT
// An auth key as text: 32 hexadecimal digits. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace mitosis {

inline std::string format_key(const AuthKey& key) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : key.bytes) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

/// invalid_argument unless it is 32 hexadecimal digits and nothing else.
inline Result<AuthKey> parse_key_text(std::string_view text) noexcept {
  AuthKey key;
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  bool good = text.size() == 2 * sizeof(key.bytes);
  for (std::size_t i = 0; good && i < sizeof(key.bytes); ++i) {
    const int high = digit(text[2 * i]);
    const int low = digit(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    key.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  if (!good) return Error(Errc::invalid_argument, "a key is 32 hexadecimal digits");
  return key;
}

}  // namespace mitosis
