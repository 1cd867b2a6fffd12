// SPDX-License-Identifier: MIT
// Bars: how many children a second an agent spawns of a cached parent, each running to its exit,
// and what is left in the agent after thousands of them. World: user. MITOSIS_BENCH_CHILDREN: how
// many for the growth (2000; the bar is 10000).
#include <harness/accounting.hpp>
#include <harness/bar.hpp>
#include <harness/clock.hpp>
#include <harness/memory.hpp>
#include <harness/origin.hpp>
#include <harness/spawner.hpp>

#include <memory>

namespace {

using namespace bench;

constexpr unsigned batch = 20;  ///< alive at a time

bool spawn_all(Scene& scene, const Handle& handle, unsigned count) {
  Spawner spawner(scene.cluster().child_agent(), handle);
  for (unsigned done = 0; done < count; done += batch) {
    if (!spawner.run(std::min(batch, count - done))) return false;
  }
  return true;
}

/// Children a second; nothing to compare with.
std::optional<Measured> rate(Scene& scene, Origin& origin) {
  constexpr unsigned count = 300;
  const Handle* handle = origin.get();
  if (handle == nullptr || !spawn_all(scene, *handle, batch)) return std::nullopt;
  const std::int64_t start = now_ns();
  if (!spawn_all(scene, *handle, count)) return std::nullopt;
  return Measured{count / (static_cast<double>(now_ns() - start) * 1e-9), 0};
}

/// File descriptors, threads and processes that the agent has more of afterwards, and MiB of
/// memory beyond 4 (an allocator's own): all of it must be 0.
std::optional<Measured> growth(Scene& scene, Origin& origin) {
  const char* wanted = std::getenv("MITOSIS_BENCH_CHILDREN");
  const unsigned count = wanted != nullptr ? static_cast<unsigned>(std::atoi(wanted)) : 2000;
  const Handle* handle = origin.get();
  // The first few hundred fill pools and caches.
  if (handle == nullptr || !spawn_all(scene, *handle, 300)) return std::nullopt;
  const int agent = scene.cluster().child_agent().process().pid();
  const Footprint before = settled_footprint(agent);
  if (!spawn_all(scene, *handle, count)) return std::nullopt;
  const Footprint after = settled_footprint(agent);
  std::fprintf(
      stderr,
      "benchmark: agent before and after %u children: processes %lu %lu, threads %lu %lu, fds %lu "
      "%lu, KiB %lu %lu\n",
      count, before.processes, after.processes, before.threads, after.threads, before.fds,
      after.fds, before.bytes / 1024, after.bytes / 1024);
  const auto more = [](std::uint64_t was, std::uint64_t is) {
    return is > was ? static_cast<double>(is - was) : 0.0;
  };
  return Measured{more(before.processes, after.processes) + more(before.threads, after.threads) +
                      more(before.fds, after.fds) + more(before.bytes + 4 * mib, after.bytes) / mib,
                  0};
}

void add(Scene& scene) {
  auto origin = std::make_shared<Origin>(
      scene, [&scene] { return scene.start_touched_parent(1); }, "rc+prefetch8+local+cow");
  add_bar("spawn/children_a_second", 5, [&scene, origin] { return rate(scene, *origin); });
  add_bar("spawn/growth", 1, [&scene, origin] { return growth(scene, *origin); });
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
