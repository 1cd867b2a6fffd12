// SPDX-License-Identifier: MIT
// An AuthKey as a user sees it: 32 hexadecimal digits. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mitosis::tools {

/// The key of 32 hexadecimal digits; the error never repeats the text, which may be nearly a key.
inline Result<AuthKey> parse_key(std::string_view text) {
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  };
  AuthKey key;
  bool good = text.size() == 2 * sizeof key.bytes;
  for (std::size_t i = 0; good && i < sizeof key.bytes; ++i) {
    const int high = digit(text[2 * i]), low = digit(text[2 * i + 1]);
    good = high >= 0 && low >= 0;
    key.bytes[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  if (good) return key;
  return Error(Errc::invalid_argument, "an auth key has 32 hexadecimal digits").in("read a key");
}

inline std::string format_key(const AuthKey& key) {
  std::string text;
  for (const std::uint8_t byte : key.bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

}  // namespace mitosis::tools
