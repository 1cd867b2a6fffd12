// SPDX-License-Identifier: MIT
// A file's payload to bytes and back. World: user.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/net/wire/decoder.hpp>
#include <mitosis/net/wire/encoder.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::files {

/// A struct of this folder: `fields` lists what is kept, once for both directions.
template <class P>
concept Payload = std::default_initializable<P> &&
    requires(P p, wire::Encoder& out, wire::Decoder& in) {
  p.fields(out);
  p.fields(in);
};
static_assert(!Payload<int>);

template <Payload P>
[[nodiscard]] std::vector<std::uint8_t> encode(const P& payload) {
  wire::Encoder encoder;
  const_cast<P&>(payload).fields(encoder);  // an Encoder only reads
  return std::move(encoder).bytes();
}

/// The payload, or bad_descriptor where a field is short, too long or followed by more bytes. What
/// the fields say is for their reader to check.
template <Payload P>
[[nodiscard]] Result<P> decode(Bytes bytes) {
  P payload{};
  wire::Decoder decoder(bytes);
  payload.fields(decoder);
  if (!decoder.finished()) return Error(Errc::bad_descriptor, "an open file's payload");
  return payload;
}

}  // namespace mitosis::files
