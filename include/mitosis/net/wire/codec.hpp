// SPDX-License-Identifier: MIT
// encode and decode: messages to bytes and back. World: both.
// A message lists its fields once, for both directions, so that the two cannot drift apart. Used
// between agents and on the agent's local socket; each protocol has its own enum of types.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/net/wire/decoder.hpp>
#include <mitosis/net/wire/encoder.hpp>

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace mitosis::wire {

/// What can be sent:
///   struct Reclaim {
///     static constexpr MessageType type = MessageType::reclaim;
///     HandlerId handler{};
///     AuthKey key;
///     template <class A> void fields(A& a) { a(handler, key); }
///   };
/// Fields are integers, enums (checked against `last` if there is one), bool, AuthKey, TargetName,
/// Error, Text, std::string, std::optional, std::array of bytes, std::vector, and structs that
/// have `fields` themselves.
template <class M>
concept Message = std::default_initializable<M> && requires(M m, Encoder& out, Decoder& in) {
  requires std::is_enum_v<std::remove_cv_t<decltype(M::type)>>;
  m.fields(out);
  m.fields(in);
};
namespace detail {
struct NoType {
  template <class A>
  void fields(A&) {}
};
}  // namespace detail
static_assert(!Message<detail::NoType> && !Message<int>);

/// The number of a message type, as frames carry it.
template <Message M>
inline constexpr std::uint16_t type_number = static_cast<std::uint16_t>(M::type);

/// The message's fields, without its type.
template <Message M>
[[nodiscard]] std::vector<std::uint8_t> encode(const M& message) {
  Encoder encoder;
  const_cast<M&>(message).fields(encoder);  // an Encoder only reads
  return std::move(encoder).bytes();
}

/// The message, or bad_message where a field is short, out of range or followed by more bytes.
template <Message M>
[[nodiscard]] Result<M> decode(Bytes bytes) {
  M message{};
  Decoder decoder(bytes);
  message.fields(decoder);
  if (!decoder.finished()) {
    const std::string about = "message type " + std::to_string(type_number<M>);
    return Error(Errc::bad_message, about.c_str());
  }
  return message;
}

}  // namespace mitosis::wire
