// SPDX-License-Identifier: MIT
// The floors and peers of all bars by themselves: what this machine can do at best. World: user.
// Every bar measures its own floor again, in the same run and beside its value.
#include <benchmark/benchmark.h>

#include <floors/fork_pause.hpp>
#include <floors/tcp_round_trip.hpp>
#include <floors/tcp_stream.hpp>
#include <floors/uffd_copy.hpp>
#include <floors/uffd_fault.hpp>
#include <harness/once.hpp>
#include <harness/veth_link.hpp>

#include <mitosis/base/describe.hpp>

#include <cstdio>
#include <optional>
#include <string>

namespace {

using namespace bench;

constexpr std::size_t bulk = 256 * mib;
constexpr int rounds = 2000;

/// Runs the measurement once an iteration; nothing measured ends the benchmark with an error.
template <class Measure>
void timed(benchmark::State& state, Measure measure) {
  for (auto _ : state) {
    const std::optional<double> ns = measure();
    if (!ns) return state.SkipWithError("could not be measured (root? userfaultfd?)");
    state.SetIterationTime(*ns * 1e-9);
  }
}

void fork_pause(benchmark::State& state) {
  const Memory memory(static_cast<std::size_t>(state.range(0)) * mib);
  memory.touch();
  timed(state, fork_pause_ns);
}
void tcp_stream(benchmark::State& state, const Link& link) {
  timed(state, [&] { return tcp_stream_ns(bulk, link, static_cast<std::size_t>(state.range(0))); });
}
void tcp_round_trip(benchmark::State& state, const Link& link) {
  timed(state, [&] { return tcp_round_trip_ns(rounds, link); });
}
void uffd_copy_of(benchmark::State& state) {
  timed(state, [&] { return uffd_copy_ns(bulk, static_cast<std::size_t>(state.range(0))); });
}
void uffd_fault(benchmark::State& state) {
  timed(state, [] { return uffd_fault_ns(rounds); });
}

void register_floors(const Link& veth) {
  using benchmark::RegisterBenchmark;
  once(RegisterBenchmark("fork_pause", fork_pause), 9)
      ->RangeMultiplier(4)
      ->UseManualTime()
      ->Range(1, 1024)
      ->Unit(benchmark::kMillisecond);
  for (const bool loopback : {true, false}) {
    const Link link = loopback ? Link{} : veth;
    const std::string on = loopback ? "loopback" : "veth";
    once(RegisterBenchmark(("tcp_stream_256MiB/" + on).c_str(), tcp_stream, link), 5)
        ->RangeMultiplier(4)
        ->UseManualTime()
        ->Range(64 << 10, 1 << 20)
        ->Unit(benchmark::kMillisecond);
    once(RegisterBenchmark(("tcp_round_trip/" + on).c_str(), tcp_round_trip, link), 5)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  }
  once(RegisterBenchmark("uffd_copy_256MiB", uffd_copy_of), 5)
      ->RangeMultiplier(4)
      ->UseManualTime()
      ->Range(64 << 10, 4 << 20)
      ->Unit(benchmark::kMillisecond);
  once(RegisterBenchmark("uffd_fault", uffd_fault), 5)
      ->UseManualTime()
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const auto networks = mitosis::testbed::TwoNetworks::create();
  if (!networks) {
    std::fprintf(stderr, "floors: %s\n", mitosis::describe(networks.error()).c_str());
    return 1;
  }
  register_floors(bench::veth_link(*networks));
  benchmark::RunSpecifiedBenchmarks();
}
