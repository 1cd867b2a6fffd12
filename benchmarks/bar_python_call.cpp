// SPDX-License-Identifier: MIT
// Bar: a resumed python3 + numpy program and its first call that uses json, zlib, ssl and numpy,
// against a cold start and the same call. World: user.
#include <harness/bar.hpp>
#include <harness/origin.hpp>
#include <harness/python.hpp>

#include <cstdlib>
#include <memory>
#include <string>

namespace {

using namespace bench;

/// Milliseconds, both from before the program that resumes, or is cold, is started.
std::optional<Measured> call_time(Scene& scene, Origin& origin) {
  const Handle* handle = origin.get();
  const auto cold = cold_call_ns();
  if (handle == nullptr || !cold) return std::nullopt;
  const std::int64_t start = now_ns();
  auto child = scene.resume(*handle, origin.policy());
  const auto done = child ? child->program.ask("call") : std::nullopt;
  if (!done || done->size() != 1 || !child->program.finish()) return std::nullopt;
  const std::int64_t end = std::strtoll((*done)[0].c_str(), nullptr, 10);
  return Measured{static_cast<double>(end - start) * 1e-6, *cold * 1e-6};
}

/// With `first` the parent is prepared anew for each repetition: its child is the first on the
/// machine, where nothing is known of it. Else all but the first repetition's follow others.
void add_call(Scene& scene, const std::string& name, const std::string& policy, bool first) {
  auto origin = std::make_shared<Origin>(
      scene, [&scene] { return start_python_parent(scene); }, policy);
  add_bar("python_call/" + name + "/" + policy, 9,
          [&scene, origin, first]() -> std::optional<Measured> {
            auto measured = call_time(scene, *origin);
            if (measured && first && !origin->reclaim()) return std::nullopt;
            return measured;
          });
}

void add(Scene& scene) {
  for (const char* policy :
       {"rc+prefetch32+none+cow", "rc+prefetch64+none+copy", "rc+eager+none+copy"}) {
    add_call(scene, "uncached", policy, true);
  }
  for (const char* policy : {"rc+prefetch8+none+cow", "rc+prefetch32+none+cow"}) {
    add_call(scene, "again", policy, false);
  }
  for (const char* policy : {"rc+prefetch32+local+cow", "rc+eager+local+cow"}) {
    add_call(scene, "cached", policy, false);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
