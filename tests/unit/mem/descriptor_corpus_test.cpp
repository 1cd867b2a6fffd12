// SPDX-License-Identifier: MIT
// The decoder survives the fuzzer's corpus and bounded random mutations of it, in every build.
// World: user. With MITOSIS_WRITE_CORPUS=1 it writes the seeds of the corpus anew.
#include <gtest/gtest.h>

#include <mitosis/mem/descriptor/view.hpp>

#include "../../fuzz/exercise_descriptor.hpp"
#include "sample_descriptor.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace mitosis {
namespace {

using Input = std::vector<std::uint8_t>;
const std::filesystem::path corpus_dir = MITOSIS_CORPUS;

/// Valid ones that between them have every section and kind, and ones that are almost valid.
std::map<std::string, Input> seeds() {
  std::map<std::string, Input> all;
  all["valid_full"] = test::sample_descriptor();
  auto small = test::sample_builder();
  small.vmas.resize(2);
  small.runs.resize(1);
  small.owners.resize(1);
  small.threads.resize(1);
  small.threads[0].xstate_bytes = 0;
  small.sigactions.clear();
  small.files.clear();
  small.limits.clear();
  small.auxv.clear();
  small.vdso.clear();
  small.process.clear();
  small.scheduling.clear();
  small.timers.clear();
  small.pending_signals.clear();
  all["valid_small"] = small.finish();
  auto newer = test::sample_builder();
  const std::uint8_t unknown[] = {1, 2, 3, 4};
  newer.add_section(100, false, unknown);
  all["valid_unknown_optional"] = newer.finish();
  newer.add_section(101, true, unknown);
  all["hostile_unknown_required"] = newer.finish();
  auto runs = test::sample_builder();
  runs.runs[1].count = ~0u;
  all["hostile_run_out_of_vma"] = runs.finish();
  auto string = test::sample_builder();
  string.vmas[0].path = ~0u - 1;
  all["hostile_string_offset"] = string.finish();
  auto cut = all["valid_full"];
  cut.resize(cut.size() / 2);
  all["hostile_cut"] = cut;
  return all;
}

std::map<std::string, Input> corpus() {
  std::map<std::string, Input> all;
  for (const auto& entry : std::filesystem::directory_iterator(corpus_dir)) {
    std::ifstream file(entry.path(), std::ios::binary);
    all[entry.path().filename()] =
        Input(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return all;
}

/// In memory of exactly that size, so that a sanitizer sees a read of one byte too many.
bool accepted(const Input& input) {
  const std::unique_ptr<std::uint8_t[]> exact(new std::uint8_t[input.size()]);
  std::copy(input.begin(), input.end(), exact.get());
  return test::exercise_descriptor(Bytes(exact.get(), input.size()));
}

TEST(DescriptorCorpus, ReplaysWithTheVerdictOfItsName) {
  if (std::getenv("MITOSIS_WRITE_CORPUS") != nullptr) {
    for (const auto& [name, input] : seeds()) {
      std::ofstream(corpus_dir / name, std::ios::binary)
          .write(reinterpret_cast<const char*>(input.data()),
                 static_cast<std::streamsize>(input.size()));
    }
  }
  const auto all = corpus();
  ASSERT_GE(all.size(), seeds().size()) << "in " << corpus_dir;
  for (const auto& [name, input] : all) {
    const bool ok = accepted(input);
    // What a fuzzer has added has no verdict, only to be survived.
    EXPECT_TRUE(ok || !name.starts_with("valid_")) << name;
    EXPECT_TRUE(!ok || !name.starts_with("hostile_")) << name;
  }
}

/// One to four harms: a bit, a byte, a whole field of an interesting value, a piece moved or cut.
void mutate(Input& input, std::mt19937_64& random) {
  constexpr std::uint64_t values[] = {0,
                                      1,
                                      2,
                                      7,
                                      8,
                                      63,
                                      64,
                                      0xff,
                                      0xffff,
                                      0x7fffffff,
                                      0xffffffff,
                                      std::uint64_t{1} << 47,
                                      ~std::uint64_t{0} >> 1,
                                      ~0ull};
  const auto below = [&random](std::size_t n) { return n == 0 ? 0 : random() % n; };
  for (auto harms = 1 + below(4); harms > 0 && input.size() >= 16; --harms) {
    const std::size_t field = below(input.size() - 8) & ~std::size_t{3};
    switch (below(6)) {
      case 0:
        input[below(input.size())] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1:
        input[below(input.size())] = static_cast<std::uint8_t>(random());
        break;
      case 2:
      case 3:
        std::memcpy(&input[field], &values[below(std::size(values))], 4 + 4 * below(2));
        break;
      case 4:
        std::memmove(&input[below(input.size() - 8)], &input[field], 8);
        break;
      default:
        input.resize(below(2) == 0 ? input.size() : below(input.size()));
        break;
    }
  }
  // Most of them with a matching length, or nothing but that check would be tested.
  if (below(8) != 0 && input.size() >= sizeof(descriptor::Header)) {
    const std::uint64_t size = input.size();
    std::memcpy(&input[offsetof(descriptor::Header, total_bytes)], &size, sizeof size);
  }
}

TEST(DescriptorCorpus, SurvivesRandomMutations) {
  const auto all = corpus();
  std::size_t passed = 0, refused = 0;
  for (const auto& [name, original] : all) {
    for (std::uint64_t seed = 0; seed < 20'000; ++seed) {
      std::mt19937_64 random(seed);
      Input input = original;
      mutate(input, random);
      ++(accepted(input) ? passed : refused);
    }
  }
  // Both happen often, or the mutations test nothing.
  EXPECT_GT(passed, all.size() * 100);
  EXPECT_GT(refused, all.size() * 5000);
}

}  // namespace
}  // namespace mitosis
