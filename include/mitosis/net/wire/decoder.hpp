// SPDX-License-Identifier: MIT
// Decoder: the archive that a message's `fields` is visited with to read it. World: both.
// The bytes come from a peer and may be hostile: every value is checked, and nothing is allocated
// that the bytes at hand could not fill.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/base/ids.hpp>
#include <mitosis/net/wire/limit.hpp>
#include <mitosis/net/wire/reader.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace mitosis::wire {

/// Reads fields in the order they are passed. After a failure the fields hold unspecified (but
/// valid) values; `finished()` tells whether the message may be used.
class Decoder {
 public:
  explicit Decoder(Bytes bytes) noexcept : in_(bytes) {}

  template <class... F>
  void operator()(F&&... fields) {
    (get(fields), ...);
  }
  [[nodiscard]] bool finished() const noexcept { return in_.finished(); }

 private:
  template <class T>
  requires std::integral<T> || std::is_enum_v<T>
  void get(T& value) {
    if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> raw{};
      get(raw);
      value = static_cast<T>(raw);
      // An enum that names its last value is checked against it.
      if constexpr (requires { T::last; }) {
        if (raw > static_cast<std::underlying_type_t<T>>(T::last)) in_.fail();
      }
    } else if constexpr (std::same_as<T, bool>) {
      const auto raw = in_.integer<std::uint8_t>();
      if (raw > 1) in_.fail();
      value = raw == 1;
    } else {
      value = static_cast<T>(in_.integer<std::make_unsigned_t<T>>());
    }
  }
  void get(AuthKey& key) { copy(key.bytes, sizeof(key.bytes)); }
  void get(TargetName& name) { (*this)(name.number, name.key); }
  void get(Error& e) {
    (*this)(e.code, e.os_errno, e.machine, e.handler, e.address);
    get(e.step);
    get(e.subject);
  }
  template <std::size_t N>
  void get(Text<N>& text) {
    const Bytes raw = counted(N);
    text = Text<N>();
    text.append(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  void get(std::string& text) { get_string(text, max_string); }
  template <std::size_t N>
  void get(std::array<std::uint8_t, N>& bytes) {
    copy(bytes.data(), N);
  }
  template <class T>
  void get(std::optional<T>& value) {
    bool present = false;
    get(present);
    value.reset();
    if (present) get(value.emplace());
  }
  template <class T>
  void get(std::vector<T>& values) {
    get_vector(values, max_elements);
  }
  template <std::size_t N>
  void get(Limited<N, std::string>& limited) {
    get_string(limited.field, N);
  }
  template <std::size_t N, class T>
  void get(Limited<N, std::vector<T>>& limited) {
    get_vector(limited.field, N);
  }
  template <class T>
  requires requires(T& t, Decoder& a) { t.fields(a); }
  void get(T& nested) { nested.fields(*this); }

  void get_string(std::string& text, std::size_t maximum) {
    const Bytes raw = counted(maximum);
    text.assign(reinterpret_cast<const char*>(raw.data()), raw.size());
  }
  template <class T>
  void get_vector(std::vector<T>& values, std::size_t maximum) {
    values.clear();
    if constexpr (std::same_as<T, std::uint8_t>) {
      const Bytes raw = counted(maximum);
      values.assign(raw.begin(), raw.end());
    } else {
      const auto count = in_.integer<std::uint32_t>();
      // An element takes at least a byte, so a count beyond what is left is a lie.
      if (count > maximum || count > in_.left()) in_.fail();
      for (std::uint32_t i = 0; i < count && in_.ok(); ++i) get(values.emplace_back());
    }
  }
  /// A length and that many bytes.
  Bytes counted(std::size_t maximum) {
    const auto size = in_.integer<std::uint32_t>();
    if (size > maximum) in_.fail();
    return in_.take(size);
  }
  void copy(std::uint8_t* to, std::size_t count) {
    const Bytes raw = in_.take(count);
    for (std::size_t i = 0; i < raw.size(); ++i) to[i] = raw[i];
  }

  Reader in_;
};

}  // namespace mitosis::wire
