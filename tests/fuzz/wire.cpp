// SPDX-License-Identifier: MIT
// libFuzzer target: every wire message, the handshake and the read lanes' receiver; and all that
// the kernel module reads.
#include "exercise_kernel.hpp"
#include "exercise_wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mitosis::fuzz::run(mitosis::Bytes(data, size));
  mitosis::fuzz::run_kernel(mitosis::Bytes(data, size));
  return 0;
}
