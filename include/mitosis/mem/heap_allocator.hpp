// SPDX-License-Identifier: MIT
// HeapAllocator: the process's heap as an Allocator. World: user.
#pragma once

#include <mitosis/mem/allocator.hpp>

#include <cstddef>
#include <cstdlib>

namespace mitosis {

/// malloc and free. Any thread.
struct HeapAllocator {
  void* allocate(std::size_t bytes) noexcept { return std::malloc(bytes); }
  void deallocate(void* memory, std::size_t) noexcept { std::free(memory); }
};
static_assert(Allocator<HeapAllocator>);

}  // namespace mitosis
