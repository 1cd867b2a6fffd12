// SPDX-License-Identifier: MIT
// HeapMemory: a pool's memory from the heap. World: user.
#pragma once

#include <mitosis/net/rc.hpp>

#include <cstddef>
#include <new>

namespace mitosis {

/// Models PoolMemory with operator new that returns null where there is no memory.
struct HeapMemory {
  void* allocate(std::size_t bytes) noexcept { return ::operator new(bytes, std::nothrow); }
  void deallocate(void* memory, std::size_t) noexcept { ::operator delete(memory); }
};
static_assert(EndpointPool<RcPool<HeapMemory>>);

template <>
struct PoolOf<RC> {
  using type = RcPool<HeapMemory>;
};

}  // namespace mitosis
