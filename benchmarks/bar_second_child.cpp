// SPDX-License-Identifier: MIT
// Bars: with Cache<Local>, what a page read costs the second child of a machine, and how much
// memory each of ten children that have read everything adds. World: user.
#include <harness/accounting.hpp>
#include <harness/bar.hpp>
#include <harness/memory.hpp>
#include <harness/origin.hpp>

#include <memory>
#include <string>
#include <vector>

namespace {

using namespace bench;

constexpr std::size_t mebibytes = 256;
constexpr std::size_t pages = mebibytes * mib / page;
constexpr double all_bytes = 256.0 * mib;

/// A child that has read all of it; nanoseconds of the reading.
std::optional<Child> reader(Scene& scene, Origin& origin, std::int64_t& took) {
  const Handle* handle = origin.get();
  auto child = handle != nullptr ? scene.resume(*handle, origin.policy()) : std::nullopt;
  const auto scan = child ? child->program.ask("scan") : std::nullopt;
  if (!scan || scan->size() != 3 || (*scan)[2] != "0") return std::nullopt;
  took =
      std::strtoll((*scan)[1].c_str(), nullptr, 10) - std::strtoll((*scan)[0].c_str(), nullptr, 10);
  return child;
}

/// Microseconds a page; beside it the first child's, that filled the cache.
std::optional<Measured> second_child(Scene& scene, Origin& origin) {
  std::int64_t first = 0, second = 0;
  for (std::int64_t* took : {&first, &second}) {
    auto child = reader(scene, origin, *took);
    if (!child || !child->program.finish()) return std::nullopt;
  }
  // Another generation: the next repetition begins with an empty cache.
  if (!origin.reclaim()) return std::nullopt;
  return Measured{static_cast<double>(second) * 1e-3 / double{pages},
                  static_cast<double>(first) * 1e-3 / double{pages}};
}

/// Percent of 256 MiB that each child adds, its share of the agent's growth included.
std::optional<Measured> ten_children(Scene& scene, Origin& origin) {
  std::int64_t ignored = 0;
  auto first = reader(scene, origin, ignored);
  if (!first) return std::nullopt;
  const int agent = scene.cluster().child_agent().process().pid();
  const std::uint64_t agent_before = footprint(agent).bytes;
  std::vector<Child> children;
  double added = 0;
  for (int i = 0; i < 10; ++i) {
    auto child = reader(scene, origin, ignored);
    if (!child) return std::nullopt;
    added += static_cast<double>(own_bytes(child->program.pid()));
    children.push_back(std::move(*child));
  }
  added += static_cast<double>(footprint(agent).bytes) - static_cast<double>(agent_before);
  for (Child& child : children) {
    if (!child.program.finish()) return std::nullopt;
  }
  return Measured{added / 10 / all_bytes * 100, 100};
}

void add(Scene& scene) {
  const auto start = [&scene] { return scene.start_touched_parent(mebibytes); };
  for (const std::string policy : {"rc+prefetch64+local+cow", "rc+prefetch512+local+cow"}) {
    auto origin = std::make_shared<Origin>(scene, start, policy);
    add_bar("second_child/us_a_page/" + policy, 7,
            [&scene, origin] { return second_child(scene, *origin); });
  }
  auto origin = std::make_shared<Origin>(scene, start, "rc+prefetch64+local+cow");
  add_bar("second_child/memory", 3, [&scene, origin] { return ten_children(scene, *origin); });
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
