// SPDX-License-Identifier: MIT
// A fuzzer's corpus and seeded mutations of it, for the tests that replay them. World: user.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

namespace mitosis::fuzz {

/// The files of a folder, each as its bytes.
inline std::vector<std::vector<std::uint8_t>> corpus(const std::string& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
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
inline std::vector<std::uint8_t> mutate(const std::vector<std::vector<std::uint8_t>>& inputs,
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

}  // namespace mitosis::fuzz
