// SPDX-License-Identifier: MIT
// Bar: a child touches 4 KiB pages at random; floor: one blocking round trip of 64 B and 4 KiB over
// loopback TCP plus one bare fault between two processes. World: user.
#include <floors/tcp_round_trip.hpp>
#include <floors/uffd_fault.hpp>
#include <harness/bar.hpp>
#include <harness/origin.hpp>

#include <memory>

namespace {

using namespace bench;

constexpr int faults = 2000;

/// Microseconds a fault: the median of the child's.
std::optional<Measured> fault(Scene& scene, Origin& origin, unsigned seed) {
  const Handle* handle = origin.get();
  const auto trip = tcp_round_trip_ns(faults);
  const auto bare = uffd_fault_ns(faults);
  if (handle == nullptr || !trip || !bare) return std::nullopt;
  auto child = scene.resume(*handle, origin.policy());
  if (!child) return std::nullopt;
  const auto said =
      child->program.ask("random " + std::to_string(faults) + " " + std::to_string(seed));
  if (!said || said->size() != 3 || (*said)[2] != "0" || !child->program.finish()) return {};
  return Measured{std::strtod((*said)[0].c_str(), nullptr) * 1e-3, (*trip + *bare) * 1e-3};
}

void add(Scene& scene) {
  for (const char* policy : {"rc+ondemand+none+cow", "dct+ondemand+none+cow"}) {
    for (const std::size_t mebibytes : {64u, 1024u}) {
      auto origin = std::make_shared<Origin>(
          scene, [&scene, mebibytes] { return scene.start_touched_parent(mebibytes); }, policy);
      add_bar("random_fault/" + std::to_string(mebibytes) + "/" + policy, 9,
              [&scene, origin, seed = 0u]() mutable { return fault(scene, *origin, ++seed); });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
