// SPDX-License-Identifier: MIT
// Allocator: where a page map's memory comes from. World: any (freestanding).
// In the kernel it is kmalloc, in user space mem/heap_allocator.hpp, in tests one that fails.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

namespace mitosis {

/// A cheap handle to memory. `allocate` returns 16-byte aligned memory or null, never throws;
/// `deallocate` takes what any copy of the handle allocated, with the same size. Used by the one
/// thread that uses the container.
template <class A>
concept Allocator = std::is_nothrow_copy_constructible_v<A> && std::is_nothrow_destructible_v<A> &&
    requires(A a, void* memory, std::size_t bytes) {
  { a.allocate(bytes) }
  noexcept->std::same_as<void*>;
  { a.deallocate(memory, bytes) }
  noexcept->std::same_as<void>;
};

namespace detail {
struct ThrowingAllocator {
  void* allocate(std::size_t);
  void deallocate(void*, std::size_t) noexcept;
};
}  // namespace detail
static_assert(!Allocator<int>);
static_assert(!Allocator<detail::ThrowingAllocator>, "the kernel cannot throw");

}  // namespace mitosis
