// SPDX-License-Identifier: MIT
// SimPlatform: what a child's driver sees of the simulated machine; models Platform. World: sim.
#pragma once

#include <mitosis/fork/platform.hpp>
#include <mitosis/fork/sim/address_space.hpp>
#include <mitosis/fork/sim/fallback.hpp>
#include <mitosis/fork/sim/landing.hpp>
#include <mitosis/fork/sim/shared_pages.hpp>
#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/net/sim/any_fabric.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// A descriptor's bytes and the view of them.
class Image {
 public:
  explicit Image(std::vector<std::uint8_t> bytes)
      : bytes_(std::move(bytes)), view_(DescriptorView::parse(Bytes(bytes_))) {}
  [[nodiscard]] bool good() const noexcept { return view_.ok(); }
  [[nodiscard]] const DescriptorView& view() const noexcept { return view_.value(); }
  [[nodiscard]] const std::vector<std::uint8_t>& bytes() const noexcept { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
  Result<DescriptorView> view_;
};

/// References; the machine owns what they refer to.
class SimPlatform {
 public:
  using Allocator = HeapAllocator;

  SimPlatform(EventQueue& events, AddressSpace& memory, SharedPages& cache, AnyFabric& fabric,
              FallbackReader& fallback, Landing& landing, std::shared_ptr<const Image> image)
      : events_(&events),
        memory_(&memory),
        cache_(&cache),
        fabric_(&fabric),
        fallback_(&fallback),
        landing_(&landing),
        image_(std::move(image)) {}

  [[nodiscard]] Allocator allocator() const noexcept { return {}; }
  AddressSpace& memory() noexcept { return *memory_; }
  SharedPages& cache() noexcept { return *cache_; }
  CacheWaiters& waiters() noexcept { return cache_->waiters(); }
  AnyFabric& fabric() noexcept { return *fabric_; }
  FallbackReader& fallback() noexcept { return *fallback_; }
  Time now() noexcept { return events_->now(); }
  Owner owner(std::uint16_t index) noexcept {
    const descriptor::OwnerRecord record = image_->view().owners()[index];
    return {MachineId{record.machine}, {record.target_number, record.target_key}};
  }
  LocalMemory acquire_landing(std::uint64_t pages) noexcept { return landing_->acquire(pages); }
  void release_landing(LocalMemory memory, std::uint64_t pages) noexcept {
    landing_->release(memory, pages);
  }

 private:
  EventQueue* events_;
  AddressSpace* memory_;
  SharedPages* cache_;
  AnyFabric* fabric_;
  FallbackReader* fallback_;
  Landing* landing_;
  std::shared_ptr<const Image> image_;
};
static_assert(Platform<SimPlatform>);

}  // namespace mitosis::sim
