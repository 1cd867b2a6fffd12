// SPDX-License-Identifier: MIT
// Bar: how long a running program stands still for its capture by pid, beyond what fork() of its
// memory takes. World: user.
#include <harness/bar.hpp>
#include <harness/python.hpp>
#include <harness/runtimes.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

using namespace bench;

/// What the capturer has measured from the first request to stop to the last thread's release, in
/// milliseconds.
std::optional<double> stopped_ms(Scene& scene, Talker& parent, int threads) {
  Handle handle;
  const auto prepared = scene.prepare_process(parent.pid(), handle);
  if (!prepared || !scene.reclaim(handle)) return std::nullopt;
  if (prepared->threads != static_cast<std::uint32_t>(threads)) {
    std::fprintf(stderr, "benchmark: %u threads, not %d\n", prepared->threads, threads);
    return std::nullopt;
  }
  return static_cast<double>(prepared->stopped_ns) * 1e-6;
}

constexpr int repetitions = 41;

void add_python(Scene& scene, int threads) {
  auto parent = std::make_shared<std::optional<Talker>>();
  auto left = std::make_shared<int>(repetitions);
  add_bar("capture_stop/python_" + std::to_string(threads), repetitions,
          [&scene, parent, left, threads]() -> std::optional<Measured> {
            if (!*parent) {
              *parent = scene.start_parent(
                  {python, build_file("benchmarks/threaded_parent.py"), std::to_string(threads)});
            }
            const auto forked = *parent ? (*parent)->ask("fork") : std::nullopt;
            if (!forked || forked->size() != 1) return std::nullopt;
            const auto stopped = stopped_ms(scene, **parent, threads);
            if (!stopped) return std::nullopt;
            if (--*left == 0) parent->reset();
            const double fork_ms = std::strtod((*forked)[0].c_str(), nullptr);
            return Measured{std::max(0.0, *stopped - fork_ms), fork_ms};
          });
}

/// A JVM cannot fork(): the whole time counts.
void add_java(Scene& scene) {
  auto parent = std::make_shared<std::optional<JavaParent>>();
  auto left = std::make_shared<int>(repetitions);
  add_bar("capture_stop/java_" + std::to_string(java_threads), repetitions,
          [&scene, parent, left]() -> std::optional<Measured> {
            if (!*parent) *parent = start_java_parent(scene);
            const auto stopped =
                *parent ? stopped_ms(scene, (*parent)->program, java_threads) : std::nullopt;
            if (--*left == 0) parent->reset();
            if (!stopped) return std::nullopt;
            return Measured{*stopped, 0};
          });
}

void add(Scene& scene) {
  for (const int threads : {4, 150}) add_python(scene, threads);
  add_java(scene);
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
