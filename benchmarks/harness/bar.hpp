// SPDX-License-Identifier: MIT
// What all bar programs have in common: main, the agents, how one measurement is reported. World:
// user.
#pragma once

#include <signal.h>
#include <sys/prctl.h>

#include <harness/once.hpp>
#include <harness/scene.hpp>

#include <optional>

namespace bench {

/// The value and its floor or peer, both in the unit of the bar.
struct Measured {
  double value = 0;
  double floor = 0;
};

/// Registers a bar: `measure` is called once a repetition and returns an optional<Measured>. What
/// it returns is in the counters; the benchmark's time is that of the whole repetition.
template <class Measure>
void add_bar(const std::string& name, int repetitions, Measure measure) {
  const auto body = [measure, failed = false](benchmark::State& state) mutable {
    for (auto _ : state) {
      const std::optional<Measured> one = failed ? std::nullopt : measure();
      failed = !one;  // once is enough: waiting for a dead agent takes its time
      if (!one) return state.SkipWithError("could not be measured; stderr says why");
      state.counters["value"] = one->value;
      state.counters["floor"] = one->floor;
    }
  };
  once(benchmark::RegisterBenchmark(name.c_str(), body), repetitions)->UseRealTime();
}

/// main() of a bar: starts the agents, has `add_bars(scene)` register, runs. 1 without agents.
template <class AddBars>
int run_bars(int argc, char** argv, AddBars add_bars) {
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);  // with ./run bench; our agents and programs go with us
  benchmark::Initialize(&argc, argv);
  std::optional<Cluster> cluster = Cluster::create();
  if (!cluster) return 1;
  Scene scene(*cluster);
  add_bars(scene);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::ClearRegisteredBenchmarks();  // they hold parents, which end before their agents
  return 0;
}

}  // namespace bench
