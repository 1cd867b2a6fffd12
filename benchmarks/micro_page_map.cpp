// SPDX-License-Identifier: MIT
// What the page map's operations cost, by how many runs there are. World: user.
#include <benchmark/benchmark.h>

#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/mem/page_map.hpp>

#include <cstdint>

namespace {

using namespace mitosis;

constexpr PageRange gibibyte{PageNumber{0x100000}, 262144};
constexpr PageValue remote{PageState::remote, 0, 0, gibibyte.first};

/// A gibibyte of which so many single pages are already the child's own.
PageMap<HeapAllocator> with_runs(std::int64_t runs) {
  PageMap<HeapAllocator> map;
  (void)map.assign(gibibyte, remote);
  const std::uint64_t apart = gibibyte.count / static_cast<std::uint64_t>(runs);
  for (std::uint64_t i = 0; i < gibibyte.count; i += apart) {
    (void)map.erase({gibibyte.first + i, 1});
  }
  return map;
}

std::uint64_t next(std::uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return (state >> 20) % gibibyte.count;
}

void find(benchmark::State& state) {
  const auto map = with_runs(state.range(0));
  std::uint64_t seed = 1;
  for (auto _ : state) benchmark::DoNotOptimize(map.find(gibibyte.first + next(seed)));
}
BENCHMARK(find)->RangeMultiplier(16)->Range(1, 65536);

/// A fault's way through the map: the page is in flight, then it is the child's own.
void fetch_one(benchmark::State& state) {
  auto map = with_runs(state.range(0));
  std::uint64_t seed = 1;
  for (auto _ : state) {
    const PageNumber page = gibibyte.first + next(seed);
    (void)map.assign({page, 1}, {PageState::in_flight, 0, 1, page});
    (void)map.erase({page, 1});
    (void)map.assign({page, 1}, {PageState::remote, 0, 0, page});
  }
}
BENCHMARK(fetch_one)->RangeMultiplier(16)->Range(1, 65536);

void move_a_mebibyte(benchmark::State& state) {
  auto map = with_runs(state.range(0));
  const PageNumber away = gibibyte.end() + 1024;
  for (auto _ : state) {
    (void)map.move({gibibyte.first, 256}, away);
    (void)map.move({away, 256}, gibibyte.first);
  }
}
BENCHMARK(move_a_mebibyte)->RangeMultiplier(16)->Range(1, 65536);

}  // namespace

BENCHMARK_MAIN();
