// SPDX-License-Identifier: MIT
// The python3 + numpy program of the bars, prepared or cold. World: user.
#pragma once

#include <harness/build_file.hpp>
#include <harness/clock.hpp>
#include <harness/scene.hpp>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

namespace bench {

inline constexpr const char* python = "/usr/bin/python3";

/// OpenBLAS's threads would keep it from being prepared; the cold start goes without them, too.
inline std::vector<std::string> python_environment() {
  return {"OPENBLAS_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1"};
}
inline std::string python_program() {
  return build_file("benchmarks/numpy_parent.py");
}

/// A parent that has imported everything and answered one call.
inline std::optional<Talker> start_python_parent(Scene& scene) {
  return scene.start_parent(
      {python, python_program(), build_file("benchmarks/libstamped_prepare.so")},
      python_environment());
}

/// Nanoseconds from before the program is started until it has done the same call.
inline std::optional<double> cold_call_ns() {
  testbed::ProcessSpec spec;
  spec.argv = {python, python_program(), "--cold"};
  spec.environment = python_environment();
  const std::int64_t start = now_ns();
  auto program = Talker::start(std::move(spec));
  const auto done = program ? program->answer() : std::nullopt;
  if (!done || done->size() != 1 || !program->finish()) return std::nullopt;
  return static_cast<double>(std::strtoll((*done)[0].c_str(), nullptr, 10) - start);
}

}  // namespace bench
