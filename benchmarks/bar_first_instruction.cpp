// SPDX-License-Identifier: MIT
// Bar: from the call of resume to the child's first instruction after prepare. World: user.
// The child takes the stamp itself; one that knows nothing of mitosis stood in a read(2), and what
// is told is when that has fetched its buffer and read. The caller's exec is not in it: the
// launcher runs already.
#include <harness/bar.hpp>
#include <harness/origin.hpp>
#include <harness/python.hpp>
#include <harness/runtimes.hpp>

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

/// The same of a program that is prepared by its pid; `start` gives it, or what owns it, and `of`
/// the program.
template <class Start, class Of>
void add_by_pid(Scene& scene, const std::string& name, Start start, Of of) {
  using Parent = typename decltype(start(scene))::value_type;
  struct State {
    std::optional<Parent> parent;
    Handle handle;
  };
  add_bar("first_instruction/" + name, 31,
          [&scene, start, of, state = std::make_shared<State>()]() -> std::optional<Measured> {
            if (!state->parent) {
              state->parent = start(scene);
              if (!state->parent ||
                  !scene.prepare_process(of(*state->parent).pid(), state->handle, policy)) {
                return std::nullopt;
              }
            }
            constexpr bool waiting = true;
            auto child = scene.resume(state->handle, policy, waiting);
            if (!child) return std::nullopt;
            const auto read = child->program.taken_ns();
            if (!read || !child->program.answer() || !child->program.finish()) return std::nullopt;
            return Measured{static_cast<double>(*read - child->called_ns) * 1e-6, 0};
          });
}

void add(Scene& scene) {
  add_program(scene, "c", [&scene] { return scene.start_touched_parent(16); });
  add_program(scene, "python_numpy", [&scene] { return start_python_parent(scene); });
  add_by_pid(scene, "java", start_java_parent,
             [](JavaParent& parent) -> Talker& { return parent.program; });
  add_by_pid(scene, "node", start_node_parent, [](Talker& parent) -> Talker& { return parent; });
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_bars(argc, argv, add);
}
