// SPDX-License-Identifier: MIT
// UserPlatform: the engine's world on stock Linux: userfaultfd, TCP, the heap. World: user.
#pragma once

#include <mitosis/fork/no_cache.hpp>
#include <mitosis/fork/platform.hpp>
#include <mitosis/fork/user/agent/fallback_reader.hpp>
#include <mitosis/fork/user/agent/image.hpp>
#include <mitosis/fork/user/agent/landing_pool.hpp>
#include <mitosis/fork/user/agent/pager_fabric.hpp>
#include <mitosis/fork/user/agent/user_memory.hpp>
#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <memory>
#include <type_traits>

namespace mitosis::agent {

/// Models Platform. Everything it refers to belongs to one pager and outlives its children.
/// `CacheType` is LocalCache, or NoCache with Cache<None>.
template <PageCache CacheType>
class UserPlatform {
 public:
  using Allocator = HeapAllocator;

  UserPlatform(UserMemory memory, CacheType& cache, CacheWaiters& waiters, PagerFabric& fabric,
               FallbackReader& fallback, LandingPool& landings,
               std::shared_ptr<const Image> image) noexcept
      : memory_(std::move(memory)),
        cache_(&cache),
        waiters_(&waiters),
        fabric_(&fabric),
        fallback_(&fallback),
        landings_(&landings),
        image_(std::move(image)) {}

  [[nodiscard]] Allocator allocator() const noexcept { return {}; }
  UserMemory& memory() noexcept { return memory_; }
  CacheType& cache() noexcept { return *cache_; }
  CacheWaiters& waiters() noexcept { return *waiters_; }
  PagerFabric& fabric() noexcept { return *fabric_; }
  FallbackReader& fallback() noexcept { return *fallback_; }
  Time now() noexcept { return tcp::monotonic_now(); }
  Owner owner(std::uint16_t index) noexcept {
    const descriptor::OwnerRecord record = image_->view().owners()[index];
    return {MachineId{record.machine}, {record.target_number, record.target_key}};
  }
  LocalMemory acquire_landing(std::uint64_t pages) noexcept { return landings_->acquire(pages); }
  void release_landing(LocalMemory landing, std::uint64_t pages) noexcept {
    landings_->release(landing, pages);
  }
  [[nodiscard]] const std::shared_ptr<const Image>& image() const noexcept { return image_; }

  /// The same world for a process that this child has forked.
  [[nodiscard]] UserPlatform for_fork(UserMemory memory) const noexcept {
    return UserPlatform(std::move(memory), *cache_, *waiters_, *fabric_, *fallback_, *landings_,
                        image_);
  }

 private:
  UserMemory memory_;
  CacheType* cache_;
  CacheWaiters* waiters_;
  PagerFabric* fabric_;
  FallbackReader* fallback_;
  LandingPool* landings_;
  std::shared_ptr<const Image> image_;
};

}  // namespace mitosis::agent
