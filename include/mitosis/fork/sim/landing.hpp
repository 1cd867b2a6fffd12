// SPDX-License-Identifier: MIT
// Landing: a machine's buffers for reads that go into one child alone. World: sim.
#pragma once

#include <mitosis/mem/local_memory.hpp>
#include <mitosis/mem/page.hpp>

#include <cstdint>
#include <new>

namespace mitosis::sim {

/// Buffers of at most `limit` pages together. A freed buffer is really freed, so that a sanitizer
/// sees a fabric that writes after the completion.
class Landing {
 public:
  explicit Landing(std::uint64_t limit) noexcept : limit_(limit) {}

  LocalMemory acquire(std::uint64_t pages) noexcept {
    if (used_ + pages > limit_) return {};
    used_ += pages;
    return {new (std::nothrow) std::uint8_t[pages << page_shift], 0};
  }
  void release(LocalMemory memory, std::uint64_t pages) noexcept {
    used_ -= pages;
    delete[] memory.data;
  }
  [[nodiscard]] std::uint64_t used() const noexcept { return used_; }

 private:
  std::uint64_t limit_;
  std::uint64_t used_ = 0;
};

}  // namespace mitosis::sim
