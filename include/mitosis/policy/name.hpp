// SPDX-License-Identifier: MIT
// PolicyName: a policy as a run-time value, and its text: `rc+prefetch8+none+cow`.
// World: any (freestanding). What crosses the wire, the C header and the command line; the matrix
// maps it to the compiled combination.
#pragma once

#include <mitosis/base/text.hpp>
#include <mitosis/policy/policy.hpp>

#include <cstdint>

namespace mitosis {

// The numbers are part of the wire format: append, never renumber.
enum class TransportKind : std::uint8_t { rc = 0, dct = 1 };
enum class FetchKind : std::uint8_t { on_demand = 0, prefetch = 1, eager = 2 };
enum class CacheKind : std::uint8_t { none = 0, local = 1 };

/// One combination; a default-constructed one is the default policy. Plain data of 8 bytes.
struct PolicyName {
  TransportKind transport = TransportKind::rc;
  FetchKind fetch = FetchKind::prefetch;
  std::uint16_t prefetch = 8;  ///< pages; 0 unless fetch is `prefetch`
  CacheKind cache = CacheKind::none;
  bool cow = true;
  bool profile = false;
  std::uint8_t reserved = 0;
  friend constexpr bool operator==(const PolicyName&, const PolicyName&) noexcept = default;
};
static_assert(sizeof(PolicyName) == 8);

/// The run-time name of a compiled policy.
template <LegalPolicy P>
inline constexpr PolicyName name_of = {
    P::dct ? TransportKind::dct : TransportKind::rc,
    P::eager          ? FetchKind::eager
    : P::prefetch > 0 ? FetchKind::prefetch
                      : FetchKind::on_demand,
    static_cast<std::uint16_t>(P::prefetch),
    P::cached ? CacheKind::local : CacheKind::none,
    P::copy_on_write,
    P::profiled,
    0,
};

/// Long enough for every name.
using PolicyText = Text<63>;

namespace detail {
/// Appends a number in decimal.
template <std::size_t N>
constexpr void append_number(Text<N>& text, unsigned number) noexcept {
  char digits[10] = {};
  std::size_t first = sizeof digits;
  do {
    digits[--first] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  text.append(digits + first, sizeof digits - first);
}
}  // namespace detail

/// The canonical text: transport, fetch, cache and cow, joined by `+`; `+profile` when it is on.
/// `separator` replaces the `+` where only an identifier will do (a test's name).
constexpr PolicyText format(PolicyName name, const char* separator = "+") noexcept {
  PolicyText text(name.transport == TransportKind::dct ? "dct" : "rc");
  text.append(separator);
  if (name.fetch == FetchKind::prefetch) {
    text.append("prefetch");
    detail::append_number(text, name.prefetch);
  } else {
    text.append(name.fetch == FetchKind::eager ? "eager" : "ondemand");
  }
  text.append(separator).append(name.cache == CacheKind::local ? "local" : "none");
  text.append(separator).append(name.cow ? "cow" : "copy");
  if (name.profile) text.append(separator).append("profile");
  return text;
}

}  // namespace mitosis
