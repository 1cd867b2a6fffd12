// SPDX-License-Identifier: MIT
// RegisteredPool: the bytes of one target that other machines read by RDMA. World: user;
// thread-safe. It grows piece by piece and ends at once.
#pragma once

#include <sys/random.h>

#include <mitosis/mem/page_ranges.hpp>
#include <mitosis/net/rpc/rdma_messages.hpp>
#include <mitosis/net/verbs/dct/parent_doors.hpp>
#include <mitosis/net/verbs/nic.hpp>

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace mitosis::verbs {

/// Calls `part(address, bytes, at)` for each run of pages that lies within [offset, offset + bytes)
/// of the sequence of all pages of `ranges`; `at` counts from `offset`. Stops where it says false.
template <class Part>
bool for_each_part(const PageRanges& ranges, std::uint64_t offset, std::uint64_t bytes, Part part) {
  std::uint64_t before = 0;
  for (const PageRange& range : ranges.ranges()) {
    const std::uint64_t end = before + range.bytes();
    const std::uint64_t from = before > offset ? before : offset;
    const std::uint64_t to = end < offset + bytes ? end : offset + bytes;
    if (from < to && !part(address(range.first) + (from - before), to - from, from - offset)) {
      return false;
    }
    if (end >= offset + bytes) break;
    before = end;
  }
  return true;
}

/// A copy of a target's pages, one after the other, as its owner makes it. What it registers can
/// only be read, under random addresses: an address is known only to whom it was told.
class RegisteredPool {
 public:
  /// `doors`, which must outlive it: where the device has dynamic connections. `areas`: the
  /// parent's VMAs, which may have doors of their own.
  RegisteredPool(const TargetName& name, PageRanges ranges, Doors* doors = nullptr,
                 std::vector<PageRange> areas = {})
      : name_(name), ranges_(std::move(ranges)), doors_(doors, std::move(areas)) {}

  [[nodiscard]] const PageRanges& ranges() const noexcept { return ranges_; }
  [[nodiscard]] const TargetName& name() const noexcept { return name_; }

  /// Before the first `add`. Where it fails dynamic connections do not reach the target.
  Result<void> open_doors() {
    const std::lock_guard lock(mutex_);
    if (revoked_) return Error(Errc::revoked);
    if (Result<void> opened = doors_.open(); !opened.ok()) return opened;
    told_.doors = doors_.told();
    return {};
  }
  /// Registers memory under a random address, where the device takes one (borrowed: it must stay
  /// mapped as long as the region lives), which is pinned where it says so.
  static Result<MemoryRegion> make_region(const Nic& nic, MutableBytes memory, bool pinned) {
    std::uint64_t where = 0;
    if (::getrandom(&where, sizeof where, 0) != ssize_t{sizeof where}) {
      return Error(Errc::system_call_failed, "getrandom", errno).in("register memory");
    }
    where = where >> 1 & ~std::uint64_t{page_size - 1};
    const auto make = [&](MemoryRegion::Access access) {
      if (!nic.any_address()) return MemoryRegion::make(nic.domain(), memory, access);
      return MemoryRegion::make_at(nic.domain(), memory, where, access);
    };
    if (pinned) return make(MemoryRegion::for_remote_reads);
    auto region = make(MemoryRegion::for_remote_reads_on_demand);
    // A device that said it could, and cannot.
    return region ? std::move(region) : make(MemoryRegion::for_remote_reads);
  }
  /// Registers the bytes from `offset` on of the sequence of all pages, which are in `memory`.
  /// revoked: it has ended.
  Result<void> add(const Nic& nic, std::uint64_t offset, MutableBytes memory) {
    auto region = make_region(nic, memory, wants_pinned(nic.on_demand()));
    if (!region) return region.error();
    return add(std::move(region).value(), offset);
  }
  /// The same of memory that is registered; what of it is behind the last page is nobody's.
  Result<void> add(MemoryRegion region, std::uint64_t offset) {
    const RemoteMemory remote = region.remote();
    const std::size_t size = region.size();
    const std::lock_guard lock(mutex_);
    if (revoked_) return Error(Errc::revoked);
    regions_.push_back(std::move(region));
    for_each_part(
        ranges_, offset, size, [&](std::uint64_t start, std::uint64_t bytes, std::uint64_t at) {
          const auto tell = [&](std::uint64_t from, std::uint64_t size, std::uint32_t door) {
            if (told_.pieces.size() >= rpc::max_pieces) return false;
            told_.pieces.push_back(
                {from, size, remote.address + at + (from - start), remote.remote_key, door});
            return true;
          };
          return doors_.split(start, bytes, tell);
        });
    return {};
  }
  /// Whether its memory has to be pinned, by a device of that capability: what is read through
  /// doors has to be in any case.
  [[nodiscard]] bool wants_pinned(bool on_demand) const {
    const std::lock_guard lock(mutex_);
    return !on_demand || !told_.doors.empty();
  }
  /// No more will come.
  void finish() {
    const std::lock_guard lock(mutex_);
    told_.complete = true;
  }
  /// For who knows its name. revoked: it is another, or it has ended.
  Result<rpc::PiecesReply> tell(const TargetName& name) const {
    const std::lock_guard lock(mutex_);
    if (revoked_ || !(name == name_)) return Error(Errc::revoked).in("query pieces");
    return told_;
  }
  /// Once it returns no peer reads from it any more. Idempotent. An error: the device has kept some
  /// of it readable.
  Result<void> revoke() {
    std::vector<MemoryRegion> ended;
    {
      const std::lock_guard lock(mutex_);
      revoked_ = true;
      told_ = {};
      doors_.close();
      ended.swap(regions_);
    }
    Result<void> done;
    for (MemoryRegion& region : ended) {
      if (Result<void> one = region.end(); !one.ok() && done.ok()) done = one;
    }
    return done;
  }
  [[nodiscard]] bool revoked() const {
    const std::lock_guard lock(mutex_);
    return revoked_;
  }

 private:
  const TargetName name_;
  const PageRanges ranges_;
  ParentDoors doors_;  ///< guarded by mutex_, as are
  mutable std::mutex mutex_;
  std::vector<MemoryRegion> regions_;
  rpc::PiecesReply told_;
  bool revoked_ = false;
};

}  // namespace mitosis::verbs
