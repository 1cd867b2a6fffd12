// SPDX-License-Identifier: MIT
// Where the pool of RC has its memory in user space: the heap. World: user.
#pragma once

#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/net/rc.hpp>

namespace mitosis {

static_assert(EndpointPool<RcPool<HeapAllocator>>);

template <>
struct PoolOf<RC> {
  using type = RcPool<HeapAllocator>;
};

}  // namespace mitosis
