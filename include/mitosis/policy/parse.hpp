// SPDX-License-Identifier: MIT
// parse_policy: text to PolicyName. World: any (freestanding).
// The words may come in any order; an axis that is not named has its default.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/policy/name.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace mitosis {

namespace detail {

/// The five axes as bits: which of them a name has already given.
enum class AxisBit : unsigned {
  none = 0,
  transport = 1,
  fetch = 2,
  cache = 4,
  cow = 8,
  profile = 16
};

constexpr bool is_word(const char* text, std::size_t size, const char* word) noexcept {
  for (std::size_t i = 0; i < size; ++i) {
    if (word[i] == '\0' || word[i] != text[i]) return false;
  }
  return word[size] == '\0';
}

/// N of "prefetchN": 1 to 65535, without leading zeros; 0 where the word is something else.
constexpr std::uint16_t prefetch_of(const char* text, std::size_t size) noexcept {
  constexpr std::size_t prefix = sizeof "prefetch" - 1;
  if (size <= prefix || size > prefix + 5 || !is_word(text, prefix, "prefetch")) return 0;
  if (text[prefix] == '0') return 0;
  unsigned pages = 0;
  for (std::size_t i = prefix; i < size; ++i) {
    if (text[i] < '0' || text[i] > '9') return 0;
    pages = pages * 10 + static_cast<unsigned>(text[i] - '0');
  }
  return pages <= 0xffff ? static_cast<std::uint16_t>(pages) : std::uint16_t{0};
}

/// Puts one word into the name and returns its axis; `none` where the word is unknown.
constexpr AxisBit apply_word(PolicyName& name, const char* text, std::size_t size) noexcept {
  const bool dct = is_word(text, size, "dct");
  if (dct || is_word(text, size, "rc")) {
    name.transport = dct ? TransportKind::dct : TransportKind::rc;
    return AxisBit::transport;
  }
  const std::uint16_t pages = prefetch_of(text, size);
  const bool eager = is_word(text, size, "eager");
  if (pages != 0 || eager || is_word(text, size, "ondemand")) {
    name.prefetch = pages;
    name.fetch = pages != 0 ? FetchKind::prefetch : eager ? FetchKind::eager : FetchKind::on_demand;
    return AxisBit::fetch;
  }
  const bool local = is_word(text, size, "local");
  if (local || is_word(text, size, "none")) {
    name.cache = local ? CacheKind::local : CacheKind::none;
    return AxisBit::cache;
  }
  const bool cow = is_word(text, size, "cow");
  if (cow || is_word(text, size, "copy")) {
    name.cow = cow;
    return AxisBit::cow;
  }
  const bool profile = is_word(text, size, "profile");
  if (profile || is_word(text, size, "noprofile")) {
    name.profile = profile;
    return AxisBit::profile;
  }
  return AxisBit::none;
}

inline Error unknown_word(const char* text, std::size_t size) noexcept {
  Error error(Errc::policy_unknown, "`");
  error.subject.append(text, size < 40 ? size : 40).append("` is none of dct rc, ondemand ");
  error.subject.append("prefetch1..65535 eager, none local, cow copy, profile noprofile");
  return error;
}

inline Error repeated_axis(const char* text, std::size_t size) noexcept {
  Error error(Errc::policy_unknown, "`");
  error.subject.append(text, size < 40 ? size : 40).append("` names an axis a second time");
  return error;
}

}  // namespace detail

/// Parses `size` bytes such as "dct+eager"; the empty text is the default policy. An unknown word
/// or a second word for an axis is policy_unknown with that word as its subject. Whether the
/// combination is legal and compiled is the matrix's to say.
inline Result<PolicyName> parse_policy(const char* text, std::size_t size) noexcept {
  PolicyName name;
  unsigned given = 0;
  std::size_t begin = 0;
  while (size != 0 && begin <= size) {
    std::size_t end = begin;
    while (end < size && text[end] != '+') ++end;
    const auto bit = static_cast<unsigned>(detail::apply_word(name, text + begin, end - begin));
    if (bit == 0) return detail::unknown_word(text + begin, end - begin);
    if ((given & bit) != 0) return detail::repeated_axis(text + begin, end - begin);
    given |= bit;
    begin = end + 1;
  }
  return name;
}

/// The same for anything with data() and size(): a string, a string_view, a Text's bytes.
template <class Chars>
requires requires(const Chars& chars) {
  { chars.data() } -> std::convertible_to<const char*>;
  chars.size();
}
inline Result<PolicyName> parse_policy(const Chars& chars) noexcept {
  return parse_policy(chars.data(), chars.size());
}

/// The same for a literal.
template <std::size_t Size>
inline Result<PolicyName> parse_policy(const char (&literal)[Size]) noexcept {
  return parse_policy(literal, Size - 1);
}

}  // namespace mitosis
