// SPDX-License-Identifier: MIT
// libFuzzer target: both ends of a session over datagrams.
#include "exercise_datagram.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mitosis::fuzz::run_datagrams(mitosis::Bytes(data, size));
  return 0;
}
