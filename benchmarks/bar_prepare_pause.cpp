// SPDX-License-Identifier: MIT
// Bar: the parent's pause in prepare against plain fork() of the same process. World: user.
#include <harness/bar.hpp>

#include <memory>
#include <string>

namespace {

using namespace bench;

/// Both in milliseconds. Every page is written before each, since a page that is still shared with
/// an earlier copy is cheaper to copy again.
std::optional<Measured> pause(Scene& scene, Talker& parent) {
  if (!parent.ask("dirty")) return std::nullopt;
  const auto forked = parent.ask("fork");
  if (!forked || !parent.ask("dirty")) return std::nullopt;
  const auto prepared = scene.prepare(parent, "rc+prefetch8+none+cow");
  if (!prepared || !Scene::reclaim(parent, *prepared)) return std::nullopt;
  return Measured{prepared->pause_ns * 1e-6, std::strtod((*forked)[0].c_str(), nullptr) * 1e-6};
}

void add(Scene& scene) {
  for (const std::size_t mebibytes : {1u, 16u, 64u, 256u, 1024u}) {
    // The parent starts at the first repetition and lives to the last: one gibibyte at a time.
    auto parent = std::make_shared<std::optional<Talker>>();
    const int repetitions = mebibytes > 256 ? 11 : 21;
    auto left = std::make_shared<int>(repetitions);
    add_bar("prepare_pause/" + std::to_string(mebibytes), repetitions,
            [&scene, parent, left, mebibytes]() -> std::optional<Measured> {
              if (!*parent) *parent = scene.start_touched_parent(mebibytes);
              const auto measured = *parent ? pause(scene, **parent) : std::nullopt;
              if (--*left == 0) parent->reset();
              return measured;
            });
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
