// SPDX-License-Identifier: MIT
// Encoder: the archive that a message's `fields` is visited with to write it. World: both; the
// kernel's writes by a BoundedWriter. Each `put` has its mirror image in decoder.hpp.
#pragma once

#include <mitosis/base/error.hpp>
#include <mitosis/base/ids.hpp>
#include <mitosis/net/wire/limit.hpp>
#include <mitosis/net/wire/writer.hpp>

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace mitosis::wire {

/// Writes fields in the order they are passed, by `Out`: a Writer or a BoundedWriter. A length over
/// its maximum is written as it is: the receiver refuses the message.
template <class Out>
class BasicEncoder {
 public:
  template <class... A>
  explicit BasicEncoder(A&&... of_out) noexcept : out_(std::forward<A>(of_out)...) {}

  template <class... F>
  void operator()(const F&... fields) {
    (put(fields), ...);
  }
  [[nodiscard]] auto bytes() && noexcept { return std::move(out_).bytes(); }

 private:
  template <class T>
  requires std::integral<T> || std::is_enum_v<T>
  void put(const T& value) {
    if constexpr (std::is_enum_v<T>) {
      put(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::same_as<T, bool>) {
      out_.integer(static_cast<std::uint8_t>(value));
    } else {
      out_.integer(static_cast<std::make_unsigned_t<T>>(value));
    }
  }
  void put(const AuthKey& key) { out_.raw(Bytes(key.bytes)); }
  void put(const TargetName& name) { (*this)(name.number, name.key); }
  void put(const Error& e) {
    (*this)(e.code, e.os_errno, e.machine, e.handler, e.address);
    put(e.step);
    put(e.subject);
  }
  template <std::size_t N>
  void put(const Text<N>& text) {
    counted(text.c_str(), text.size());
  }
  void put(const std::string& text) { counted(text.data(), text.size()); }
  template <std::size_t N>
  void put(const std::array<std::uint8_t, N>& bytes) {
    out_.raw(Bytes(bytes.data(), N));
  }
  template <class T>
  void put(const std::optional<T>& value) {
    put(value.has_value());
    if (value) put(*value);
  }
  template <class T>
  void put(const std::vector<T>& values) {
    put(static_cast<std::uint32_t>(values.size()));
    if constexpr (std::same_as<T, std::uint8_t>) {
      out_.raw(Bytes(values.data(), values.size()));
    } else {
      for (const T& value : values) put(value);
    }
  }
  template <std::size_t N, class T>
  void put(const Limited<N, T>& limited) {
    put(limited.field);
  }
  /// A nested struct. `fields` is written once for both directions and so is not const; this
  /// archive only reads what it is given.
  template <class T>
  requires requires(T& t, BasicEncoder& a) { t.fields(a); }
  void put(const T& nested) { const_cast<T&>(nested).fields(*this); }
  void counted(const char* data, std::size_t size) {
    put(static_cast<std::uint32_t>(size));
    out_.raw(Bytes(reinterpret_cast<const std::uint8_t*>(data), size));
  }

  Out out_;
};

using Encoder = BasicEncoder<Writer>;

}  // namespace mitosis::wire
