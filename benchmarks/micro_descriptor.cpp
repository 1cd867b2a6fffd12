// SPDX-License-Identifier: MIT
// What it costs to check a descriptor that has just come in, by how many VMAs it has. World: user.
#include <benchmark/benchmark.h>

#include <harness/descriptor_of.hpp>

namespace {

void parse(benchmark::State& state) {
  const auto bytes = bench::descriptor_of(static_cast<std::uint64_t>(state.range(0)), 64);
  const mitosis::Bytes all(bytes.data(), bytes.size());
  for (auto _ : state) {
    auto view = mitosis::DescriptorView::parse(all);
    if (!view) return state.SkipWithError("the sample descriptor is refused");
    benchmark::DoNotOptimize(view);
  }
  state.counters["bytes"] = static_cast<double>(bytes.size());
}
BENCHMARK(parse)->RangeMultiplier(8)->Range(8, 4096);

}  // namespace

BENCHMARK_MAIN();
