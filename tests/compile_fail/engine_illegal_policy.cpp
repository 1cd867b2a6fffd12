// SPDX-License-Identifier: MIT
// The engine is a template over legal policies only. World: any.
// expect: Engine
// mentions: LegalPolicy
#include <mitosis/fork/engine.hpp>

#include <cstddef>

struct Refusing {
  void* allocate(std::size_t) noexcept { return nullptr; }
  void deallocate(void*, std::size_t) noexcept {}
};
using namespace mitosis;
using Wrong = Engine<Policy<Transport<DCT>, Fetch<Prefetch<512>>>, Refusing>;
