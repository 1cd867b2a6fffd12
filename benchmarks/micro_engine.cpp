// SPDX-License-Identifier: MIT
// What the engine itself takes to decide about a fault and to take note of its end, by policy: the
// part of a fault that is neither the network nor the kernel. World: user.
#include <benchmark/benchmark.h>

#include <harness/descriptor_of.hpp>
#include <mitosis/fork/engine.hpp>
#include <mitosis/fork/no_cache.hpp>
#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/policy/policy.hpp>

#include <optional>

namespace {

using namespace mitosis;

constexpr std::uint64_t pages = 262144;

/// All reads of a plan come back and are installed.
template <class E>
void complete(E& engine, const Plan& plan) {
  for (unsigned i = 0; i < plan.count; ++i) {
    const OpId op = plan.reads[i].op;
    benchmark::DoNotOptimize(engine.on_read(op, Errc::ok));
    while (const auto piece = engine.next_install(op, plan.reads[i].pages.first)) {
      engine.on_installed(*piece);
    }
    (void)engine.finish(op);
  }
}

/// One fault after another through a gibibyte, in order or with a stride that never comes back.
template <class FetchValue, std::uint64_t stride>
void fault(benchmark::State& state) {
  using P = Policy<Transport<RC>, Fetch<FetchValue>, Cache<None>>;
  const auto bytes = bench::descriptor_of(1, pages);
  const auto view = DescriptorView::parse(Bytes(bytes.data(), bytes.size()));
  if (!view) return state.SkipWithError("the sample descriptor is refused");
  const PageNumber first{bench::first_address / bench::page};
  std::optional<Engine<P, HeapAllocator>> engine;
  NoCache cache;
  Plan plan;
  std::uint64_t at = 0, done = pages;
  for (auto _ : state) {
    if (done == pages) {
      state.PauseTiming();
      engine.emplace(HeapAllocator{});
      if (engine->load(*view) != Errc::ok) return state.SkipWithError("load");
      at = done = 0;
      state.ResumeTiming();
    }
    engine->on_fault(first + at, cache, plan);
    complete(*engine, plan);
    at = (at + stride) % pages;
    ++done;
  }
}
// A page that a prefetch brought is decided in no time: the mean over all pages is what counts.
constexpr std::uint64_t in_order = 1, scattered = 96557;
BENCHMARK(fault<OnDemand, in_order>);
BENCHMARK(fault<OnDemand, scattered>);
BENCHMARK(fault<Prefetch<8>, in_order>);
BENCHMARK(fault<Prefetch<8>, scattered>);
BENCHMARK(fault<Prefetch<64>, in_order>);
BENCHMARK(fault<Prefetch<64>, scattered>);

}  // namespace

BENCHMARK_MAIN();
