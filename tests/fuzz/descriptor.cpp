// SPDX-License-Identifier: MIT
// libFuzzer target: the descriptor decoder. World: user. `./run test fuzz` runs it; the unit test
// mem.descriptor_corpus replays the corpus and mutations of it in every build.
#include "exercise_descriptor.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  mitosis::test::exercise_descriptor(mitosis::Bytes(data, size));
  return 0;
}
