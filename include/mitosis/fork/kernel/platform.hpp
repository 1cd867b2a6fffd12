// SPDX-License-Identifier: MIT
// KernelPlatform: what Child needs of the kernel. World: kernel.
#pragma once

#include <mitosis/fork/kernel/allocator.hpp>
#include <mitosis/fork/kernel/cache.hpp>
#include <mitosis/fork/kernel/fabric.hpp>
#include <mitosis/fork/kernel/memory.hpp>
#include <mitosis/fork/platform.hpp>

namespace mitosis::kernel {

/// What one child has of its own; KernelPlatform refers to it.
struct ChildParts {
  explicit ChildParts(mitosis_child* child) noexcept : memory(child), fabric(child), cache(child) {}
  Memory memory;
  KernelFabric fabric;
  KernelCache cache;  // with Cache<None> the engine never asks it
  CacheWaiters waiters;
};

class KernelPlatform {
 public:
  /// Says page_unavailable.
  struct NoFallback {
    KernelFabric* fabric;
    void read(const ReadRequest& request) noexcept { fabric->refuse(request); }
  };
  using Allocator = KernelAllocator;

  explicit KernelPlatform(ChildParts& parts) noexcept : parts_(&parts), fallback_{&parts.fabric} {}

  [[nodiscard]] Allocator allocator() const noexcept { return {}; }
  Memory& memory() noexcept { return parts_->memory; }
  KernelCache& cache() noexcept { return parts_->cache; }
  KernelFabric& fabric() noexcept { return parts_->fabric; }
  NoFallback& fallback() noexcept { return fallback_; }
  CacheWaiters& waiters() noexcept { return parts_->waiters; }
  Time now() noexcept { return Time{mitosis_shim_now()}; }
  /// The shim knows the owners by their indices.
  Owner owner(std::uint16_t index) noexcept {
    return {MachineId{mitosis_shim_machine()}, {index, 0}};
  }
  LocalMemory acquire_landing(std::uint64_t pages) noexcept {
    return {static_cast<std::uint8_t*>(mitosis_shim_allocate_pages(pages)), 0};
  }
  void release_landing(LocalMemory landing, std::uint64_t pages) noexcept {
    mitosis_shim_free_pages(landing.data, pages);
  }

 private:
  ChildParts* parts_;
  NoFallback fallback_;
};
static_assert(Platform<KernelPlatform>);

}  // namespace mitosis::kernel
