// SPDX-License-Identifier: MIT
// Replays the corpora of the fuzzers of what peers send, and a bounded number of seeded mutations
// of them: the part of the fuzzing that runs with every test run and every compiler.
#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "../../fuzz/exercise_datagram.hpp"
#include "../../fuzz/exercise_wire.hpp"
#include "corpus.hpp"

namespace mitosis {
namespace {

TEST(WireFuzz, TheCorpusHarmsNothing) {
  const auto inputs = fuzz::corpus(MITOSIS_WIRE_CORPUS);
  ASSERT_GE(inputs.size(), 16u) << "where is the corpus?";
  for (const auto& input : inputs) fuzz::run(Bytes(input.data(), input.size()));
}

TEST(WireFuzz, MutationsOfTheCorpusHarmNothing) {
  const auto inputs = fuzz::corpus(MITOSIS_WIRE_CORPUS);
  std::mt19937 random(20240607);
  for (int i = 0; i < 20'000; ++i) {
    const std::vector<std::uint8_t> input = fuzz::mutate(inputs, random);
    fuzz::run(Bytes(input.data(), input.size()));
  }
}

TEST(DatagramFuzz, TheCorpusAndMutationsOfItHarmNothing) {
  const auto inputs = fuzz::corpus(MITOSIS_DATAGRAM_CORPUS);
  ASSERT_GE(inputs.size(), 16u) << "where is the corpus?";
  for (const auto& input : inputs) fuzz::run_datagrams(Bytes(input.data(), input.size()));
  std::mt19937 random(20261126);
  for (int i = 0; i < 3'000; ++i) {
    const std::vector<std::uint8_t> input = fuzz::mutate(inputs, random);
    fuzz::run_datagrams(Bytes(input.data(), input.size()));
  }
}

}  // namespace
}  // namespace mitosis
