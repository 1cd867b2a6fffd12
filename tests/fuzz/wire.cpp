// SPDX-License-Identifier: MIT
// libFuzzer target: every wire message, the handshake and the read lanes' receiver.
#include "exercise_wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mitosis::fuzz::run(mitosis::Bytes(data, size));
  return 0;
}
