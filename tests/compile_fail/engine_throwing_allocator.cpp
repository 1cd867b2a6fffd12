// SPDX-License-Identifier: MIT
// The engine runs where nothing may throw, so neither may its allocator. World: any.
// expect: Engine
// mentions: Allocator
#include <mitosis/fork/engine.hpp>

#include <cstddef>

struct Throwing {
  void* allocate(std::size_t bytes) { return ::operator new(bytes); }
  void deallocate(void* memory, std::size_t) { ::operator delete(memory); }
};
using Wrong = mitosis::Engine<mitosis::Policy<>, Throwing>;
