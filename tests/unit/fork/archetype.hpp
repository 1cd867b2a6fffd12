// SPDX-License-Identifier: MIT
// Archetypes: the bare minimum that each concept of fork/platform.hpp demands. World: any.
// The engine and its driver are instantiated with them: what they use and a concept omits does not
// compile.
#pragma once

#include <mitosis/fork/child.hpp>

namespace mitosis::archetype {

struct Heap {
  void* allocate(std::size_t) noexcept { return nullptr; }
  void deallocate(void*, std::size_t) noexcept {}
};
struct Memory {
  InstallResult copy_in(PageRange, const std::uint8_t*) noexcept { return {}; }
  InstallResult zero_in(PageRange) noexcept { return {}; }
  InstallResult map_cached(PageRange, PageNumber) noexcept { return {}; }
  void fail(PageNumber, Errc) noexcept {}
  void wake(PageRange) noexcept {}
};
struct Pages {
  CacheState state(PageNumber) noexcept { return CacheState::absent; }
  void begin_fill(PageRange) noexcept {}
  void end_fill(PageRange, bool) noexcept {}
  LocalMemory slot(PageRange) noexcept { return {}; }
};
struct Wire {
  void post(Span<const ReadRequest>) noexcept {}
  std::size_t poll(Span<ReadCompletion>, Time) noexcept { return 0; }
  void forget(MachineId) noexcept {}
};
struct Rpc {
  void read(const ReadRequest&) noexcept {}
};
class World {
 public:
  using Allocator = Heap;
  World() noexcept = default;
  World(World&&) noexcept {}
  World(const World&) = delete;
  Heap allocator() const noexcept { return {}; }
  Memory& memory() noexcept { return memory_; }
  Pages& cache() noexcept { return pages_; }
  Wire& fabric() noexcept { return wire_; }
  Rpc& fallback() noexcept { return rpc_; }
  CacheWaiters& waiters() noexcept { return waiters_; }
  Time now() noexcept { return Time{}; }
  Owner owner(std::uint16_t) noexcept { return {}; }
  LocalMemory acquire_landing(std::uint64_t) noexcept { return {}; }
  void release_landing(LocalMemory, std::uint64_t) noexcept {}

 private:
  Memory memory_;
  Pages pages_;
  Wire wire_;
  Rpc rpc_;
  CacheWaiters waiters_;
};

}  // namespace mitosis::archetype
