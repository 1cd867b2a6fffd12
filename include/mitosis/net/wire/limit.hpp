// SPDX-License-Identifier: MIT
// limit<N>(field): a maximum other than the default for one string or vector of a message.
// World: any (freestanding). Every length that comes from a peer has a maximum; these are the
// defaults.
#pragma once

#include <cstddef>

namespace mitosis::wire {

inline constexpr std::size_t max_string = 4096;     ///< bytes
inline constexpr std::size_t max_elements = 65536;  ///< of a vector; for a vector of bytes, bytes

/// A reference to a field together with its maximum.
template <std::size_t N, class T>
struct Limited {
  T& field;
};

/// In `fields`: `a(x, limit<1 << 20>(payload))`.
template <std::size_t N, class T>
[[nodiscard]] constexpr Limited<N, T> limit(T& field) noexcept {
  return {field};
}

}  // namespace mitosis::wire
