// SPDX-License-Identifier: MIT
// KernelAllocator and make/destroy: objects in the kernel's memory. World: kernel.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/mem/allocator.hpp>

#include <cstddef>
#include <new>
#include <utility>

namespace mitosis::kernel {

/// The shim's memory, without a state. May sleep. Any thread.
struct KernelAllocator {
  void* allocate(std::size_t bytes) noexcept { return mitosis_shim_allocate(bytes); }
  void deallocate(void* memory, std::size_t) noexcept { mitosis_shim_free(memory); }
};
static_assert(Allocator<KernelAllocator>);

/// A new object, or null where there is no memory.
template <class T, class... Args>
T* make(Args&&... args) noexcept {
  void* memory = mitosis_shim_allocate(sizeof(T));
  return memory != nullptr ? new (memory) T(std::forward<Args>(args)...) : nullptr;
}
template <class T>
void destroy(T* object) noexcept {
  if (object == nullptr) return;
  object->~T();
  mitosis_shim_free(object);
}

}  // namespace mitosis::kernel
