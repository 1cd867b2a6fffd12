// SPDX-License-Identifier: MIT
// Bar: a resumed python3 + numpy program and its first call that uses json, zlib, ssl and numpy,
// against a cold start and the same call. World: user.
#include <harness/bar.hpp>
#include <harness/origin.hpp>
#include <harness/python.hpp>

#include <cstring>
#include <memory>

namespace {

using namespace bench;

/// Milliseconds, both from before the program that resumes, or is cold, is started.
std::optional<Measured> first_call(Scene& scene, Origin& origin) {
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

void add(Scene& scene) {
  // With the cache from the second repetition on, as on a machine that has run one child before.
  for (const char* name : {"uncached/rc+prefetch32+none+cow", "uncached/rc+prefetch64+none+copy",
                           "cached/rc+prefetch32+local+cow", "cached/rc+eager+local+cow"}) {
    const std::string policy = std::strchr(name, '/') + 1;
    auto origin = std::make_shared<Origin>(
        scene, [&scene] { return start_python_parent(scene); }, policy);
    add_bar(std::string("python_call/") + name, 9,
            [&scene, origin] { return first_call(scene, *origin); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
