// SPDX-License-Identifier: MIT
// How a bar's measurement is a Google Benchmark: a repetition is one measurement of the value and
// of its floor or peer, back to back, so that both see the same noise. World: user.
#pragma once

#include <benchmark/benchmark.h>

namespace bench {

/// One measurement per repetition; of all of them the medians are reported.
inline benchmark::internal::Benchmark* once(benchmark::internal::Benchmark* of, int repetitions) {
  return of->Iterations(1)->Repetitions(repetitions)->ReportAggregatesOnly();
}

}  // namespace bench
