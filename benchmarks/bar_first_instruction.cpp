// SPDX-License-Identifier: MIT
// Bar: from the call of resume to the child's first instruction after prepare. World: user.
// The child takes the stamp itself. The caller's exec is not in it: the launcher runs already.
#include <harness/bar.hpp>
#include <harness/origin.hpp>
#include <harness/python.hpp>

#include <memory>

namespace {

using namespace bench;

constexpr const char* policy = "rc+prefetch8+none+cow";

/// Milliseconds; nothing to compare with.
void add_program(Scene& scene, const std::string& name,
                 std::function<std::optional<Talker>()> start) {
  auto origin = std::make_shared<Origin>(scene, std::move(start), policy);
  add_bar("first_instruction/" + name, 31, [&scene, origin]() -> std::optional<Measured> {
    const Handle* handle = origin->get();
    if (handle == nullptr) return std::nullopt;
    std::int64_t first = 0;
    auto child = scene.resume(*handle, policy, first);
    if (!child || !child->program.finish()) return std::nullopt;
    return Measured{static_cast<double>(first - child->called_ns) * 1e-6, 0};
  });
}

void add(Scene& scene) {
  add_program(scene, "c", [&scene] { return scene.start_touched_parent(16); });
  add_program(scene, "python_numpy", [&scene] { return start_python_parent(scene); });
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
