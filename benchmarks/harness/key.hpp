// SPDX-License-Identifier: MIT
// key_of: an auth key from its 32 hexadecimal digits. World: user.
#pragma once

#include <mitosis/base/ids.hpp>

#include <charconv>
#include <cstddef>
#include <string>

namespace bench {

/// Digits that are none count as zeros: then the agent refuses the key.
inline mitosis::AuthKey key_of(const std::string& digits) {
  mitosis::AuthKey key;
  for (std::size_t i = 0; i < sizeof key.bytes && 2 * i + 2 <= digits.size(); ++i) {
    (void)std::from_chars(digits.data() + 2 * i, digits.data() + 2 * i + 2, key.bytes[i], 16);
  }
  return key;
}

}  // namespace bench
