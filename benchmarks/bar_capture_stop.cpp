// SPDX-License-Identifier: MIT
// Bar: how long a running program stands still for its capture by pid, beyond what fork() of its
// memory takes. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <harness/bar.hpp>
#include <harness/python.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

namespace {

using namespace bench;
using namespace mitosis;

/// Both in milliseconds: what the capturer has measured from the first request to stop to the last
/// thread's release, less fork(); and fork().
std::optional<Measured> stop(Scene& scene, Talker& parent, int threads) {
  static std::uint64_t handler = 1'000'000;
  const auto forked = parent.ask("fork");
  if (!forked || forked->size() != 1) return std::nullopt;
  auto agent = scene.cluster().parent_agent().connect();
  if (!agent) return std::nullopt;
  local::PrepareProcess request;
  request.pid = parent.pid();
  request.handler = HandlerId{++handler};
  const auto prepared =
      agent->call<local::ProcessPrepared>(request, local::within(std::chrono::seconds(20)));
  local::Reclaim reclaim;
  reclaim.handler = request.handler;
  if (!prepared || prepared->threads != static_cast<std::uint32_t>(threads) ||
      !agent->call<local::Done>(reclaim, local::within(std::chrono::seconds(20)))) {
    if (!prepared) std::fprintf(stderr, "benchmark: %s\n", describe(prepared.error()).c_str());
    return std::nullopt;
  }
  const double fork_ms = std::strtod((*forked)[0].c_str(), nullptr);
  const double stopped_ms = static_cast<double>(prepared->stopped_ns) * 1e-6;
  return Measured{std::max(0.0, stopped_ms - fork_ms), fork_ms};
}

void add(Scene& scene) {
  for (const int threads : {4, 150}) {
    auto parent = std::make_shared<std::optional<Talker>>();
    constexpr int repetitions = 41;
    auto left = std::make_shared<int>(repetitions);
    add_bar("capture_stop/python_" + std::to_string(threads), repetitions,
            [&scene, parent, left, threads]() -> std::optional<Measured> {
              if (!*parent) {
                *parent = scene.start_parent(
                    {python, build_file("benchmarks/threaded_parent.py"), std::to_string(threads)});
              }
              const auto measured = *parent ? stop(scene, **parent, threads) : std::nullopt;
              if (--*left == 0) parent->reset();
              return measured;
            });
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
