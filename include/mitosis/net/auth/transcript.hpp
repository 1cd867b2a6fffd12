// SPDX-License-Identifier: MIT
// What the two proofs of a handshake are made over. World: both.
#pragma once

#include <mitosis/base/text.hpp>
#include <mitosis/net/auth/messages.hpp>
#include <mitosis/net/wire/frame.hpp>

#include <cstdint>

namespace mitosis::auth {

/// Whose proof it is: neither can be reflected.
enum class Side : std::uint8_t { client = 1, server = 2 };

/// Both fresh nonces, both machines, the purpose and the client's name, with a label of its own.
template <class Archive>
void write_transcript(Archive& a, Side side, const Hello& hello, const Challenge& challenge) {
  a(Text<17>("mitosis handshake"), wire::frame_version, side);
  const_cast<Hello&>(hello).fields(a);  // an encoder only reads
  const_cast<Challenge&>(challenge).fields(a);
}

}  // namespace mitosis::auth
