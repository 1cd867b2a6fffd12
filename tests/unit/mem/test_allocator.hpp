// SPDX-License-Identifier: MIT
// TestAllocator: counts, and fails when told to. World: user.
#pragma once

#include <mitosis/mem/allocator.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace mitosis::test {

/// What the handles share; outlives them.
struct Memory {
  std::int64_t allocations_left = -1;  ///< -1: endless
  std::size_t allocations = 0;
  std::size_t bytes = 0;       ///< allocated now
  std::size_t moved = 0;       ///< runs and index entries shifted so far
  std::size_t most_moved = 0;  ///< by one shift
};

struct TestAllocator {
  Memory* memory;
  void* allocate(std::size_t n) noexcept {
    if (memory->allocations_left == 0) return nullptr;
    if (memory->allocations_left > 0) --memory->allocations_left;
    ++memory->allocations;
    memory->bytes += n;
    return std::malloc(n);
  }
  void deallocate(void* p, std::size_t n) noexcept {
    memory->bytes -= n;
    std::free(p);
  }
  void touched(std::size_t n) noexcept {
    memory->moved += n;
    if (n > memory->most_moved) memory->most_moved = n;
  }
};
static_assert(Allocator<TestAllocator>);

}  // namespace mitosis::test
