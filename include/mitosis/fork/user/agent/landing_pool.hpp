// SPDX-License-Identifier: MIT
// LandingPool: where bytes arrive that go into one child alone. World: user; one pager thread.
#pragma once

#include <sys/mman.h>

#include <mitosis/fork/engine/plan.hpp>
#include <mitosis/mem/local_memory.hpp>
#include <mitosis/mem/page.hpp>
#include <mitosis/mem/registered_windows.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mitosis::agent {

/// Blocks of two sizes, last in first out, so that a block that is still in the processor's cache
/// is used again. Page-aligned. Memory is only taken from the system when a block is first used.
class LandingPool {
 public:
  static constexpr std::size_t large_blocks = 192;  ///< of max_read_pages
  static constexpr std::size_t small_blocks = 512;  ///< of one page

  /// With a registrar (which must outlive it) a device can write the blocks that it hands out.
  explicit LandingPool(Registrar* registrar = nullptr) noexcept {
    static_assert(max_read_pages * page_size <= RegisteredWindows::reach);
    constexpr std::size_t bytes =
        (large_blocks * max_read_pages + small_blocks) * std::size_t{page_size};
    void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return;  // every acquire says "none is free"
    memory_ = static_cast<std::uint8_t*>(at);
    bytes_ = bytes;
    // A process that is forked off (a capturer) would be given copies of all that is pinned.
    if (registrar != nullptr) ::madvise(at, bytes, MADV_DONTFORK);
    windows_ = RegisteredWindows(registrar, MutableBytes(memory_, bytes_));
    std::uint8_t* next = memory_;
    for (std::size_t i = 0; i < large_blocks; ++i, next += max_read_pages * page_size) {
      large_.push_back(next);
    }
    for (std::size_t i = 0; i < small_blocks; ++i, next += page_size) small_.push_back(next);
  }
  ~LandingPool() {
    windows_ = {};
    if (memory_ != nullptr) ::munmap(memory_, bytes_);
  }
  LandingPool(const LandingPool&) = delete;
  LandingPool& operator=(const LandingPool&) = delete;

  LocalMemory acquire(std::uint64_t pages) noexcept {
    std::vector<std::uint8_t*>& blocks = pages == 1 ? small_ : large_;
    if (blocks.empty() || pages > max_read_pages) return {};
    std::uint8_t* const block = blocks.back();
    blocks.pop_back();
    return {block, windows_.key(static_cast<std::uint64_t>(block - memory_), pages << page_shift)};
  }
  void release(LocalMemory block, std::uint64_t pages) noexcept {
    (pages == 1 ? small_ : large_).push_back(block.data);  // within the reserved capacity
  }

 private:
  std::uint8_t* memory_ = nullptr;
  std::size_t bytes_ = 0;
  RegisteredWindows windows_;
  std::vector<std::uint8_t*> large_, small_;
};

}  // namespace mitosis::agent
