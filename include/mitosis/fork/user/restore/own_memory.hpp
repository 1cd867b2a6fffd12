// SPDX-License-Identifier: MIT
// OwnMemory: memory at a chosen address, the launcher's own. World: user.
#pragma once

#include <sys/mman.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/restore/address_space.hpp>
#include <mitosis/fork/user/restore/occupied.hpp>
#include <mitosis/mem/descriptor/refuse.hpp>

#include <cerrno>
#include <cstdint>
#include <utility>

namespace mitosis::restore {

/// Owns zeroed, readable and writable private memory; move-only.
class OwnMemory {
 public:
  OwnMemory() noexcept = default;
  OwnMemory(OwnMemory&& other) noexcept : range_(std::exchange(other.range_, {})) {}
  OwnMemory& operator=(OwnMemory&& other) noexcept {
    std::swap(range_, other.range_);
    return *this;
  }
  OwnMemory(const OwnMemory&) = delete;
  OwnMemory& operator=(const OwnMemory&) = delete;
  ~OwnMemory() {
    if (!range_.empty()) ::munmap(reinterpret_cast<void*>(range_.start), range_.bytes());
  }

  /// `bytes` (whole pages) where `occupied` has room below `below`, which is then taken there.
  /// address_in_use where there is none.
  static Result<OwnMemory> find(std::uint64_t bytes, std::uint64_t below, Occupied& occupied) {
    // Further up again: the administrator may forbid low addresses (vm.mmap_min_addr), and the
    // list may be older than a mapping.
    std::uint64_t from = lowest_hole;
    for (int attempt = 0; attempt < 8; ++attempt) {
      const Range room = occupied.find(bytes, from, below);
      if (room.empty()) break;
      OwnMemory memory;
      void* const want = reinterpret_cast<void*>(room.start);
      void* const got =
          ::mmap(want, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
      if (got == want) {
        memory.range_ = room;
        occupied.add(room);
        return memory;
      }
      if (got != MAP_FAILED) ::munmap(got, bytes);  // a kernel before 4.17 takes it for a hint
      from = room.start + (std::uint64_t{256} << 10);
    }
    Error error(Errc::address_in_use, "no room for ");
    descriptor::append_number(error.subject, bytes);
    error.subject.append(" bytes that neither launcher nor child uses");
    return error.in("make room for the restorer");
  }

  [[nodiscard]] Range range() const noexcept { return range_; }
  [[nodiscard]] std::uint8_t* data() const noexcept {
    return reinterpret_cast<std::uint8_t*>(range_.start);
  }
  [[nodiscard]] MutableBytes bytes() const noexcept { return {data(), range_.bytes()}; }

 private:
  Range range_;
};

}  // namespace mitosis::restore
