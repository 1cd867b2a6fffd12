// SPDX-License-Identifier: MIT
// Replays the wire fuzzer's corpus and a bounded number of seeded mutations of it: the part of the
// fuzzing that runs with every test run and every compiler.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <vector>

#include "../../fuzz/exercise_wire.hpp"

namespace mitosis {
namespace {

std::vector<std::vector<std::uint8_t>> corpus() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(MITOSIS_WIRE_CORPUS)) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());  // the seed must mean the same everywhere
  std::vector<std::vector<std::uint8_t>> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

/// Flips, cuts, repeats and splices.
std::vector<std::uint8_t> mutate(const std::vector<std::vector<std::uint8_t>>& inputs,
                                 std::mt19937& random) {
  std::vector<std::uint8_t> bytes = inputs[random() % inputs.size()];
  for (unsigned left = 1 + static_cast<unsigned>(random() % 4); left > 0; --left) {
    const std::size_t at = bytes.empty() ? 0 : random() % bytes.size();
    switch (random() % 4) {
      case 0:
        if (!bytes.empty()) bytes[at] = static_cast<std::uint8_t>(random());
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), 1 + random() % 8,
                     static_cast<std::uint8_t>(random() % 2 * 0xff));
        break;
      default: {
        const std::vector<std::uint8_t>& other = inputs[random() % inputs.size()];
        bytes.insert(bytes.end(), other.begin(), other.end());
      }
    }
  }
  return bytes;
}

TEST(WireFuzz, TheCorpusHarmsNothing) {
  const auto inputs = corpus();
  ASSERT_GE(inputs.size(), 16u) << "where is the corpus?";
  for (const auto& input : inputs) fuzz::run(Bytes(input.data(), input.size()));
}

TEST(WireFuzz, MutationsOfTheCorpusHarmNothing) {
  const auto inputs = corpus();
  std::mt19937 random(20240607);
  for (int i = 0; i < 20'000; ++i) {
    const std::vector<std::uint8_t> input = mutate(inputs, random);
    fuzz::run(Bytes(input.data(), input.size()));
  }
}

}  // namespace
}  // namespace mitosis
