// SPDX-License-Identifier: MIT
// RcPool: one endpoint per destination, made at the first request and kept. World: any
// (freestanding). It grows with the peers, by design, and counts them; memory comes from the
// allocator it is given, which may fail.
#pragma once

#include <mitosis/mem/allocator.hpp>
#include <mitosis/net/endpoint_pool.hpp>
#include <mitosis/policy/axes.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis {

/// Never answers `wait`; `refuse` where the allocator has no memory for one more peer. A request
/// finds its endpoint by binary search.
template <Allocator Memory>
class RcPool {
 public:
  RcPool() noexcept = default;
  explicit RcPool(Memory memory) noexcept : memory_(memory) {}
  RcPool(const RcPool&) = delete;
  RcPool& operator=(const RcPool&) = delete;
  ~RcPool() {
    if (entries_ != nullptr) memory_.deallocate(entries_, capacity_ * sizeof(Entry));
  }

  Grant admit(Destination d, bool) noexcept {
    const std::uint32_t at = position(d);
    if (at < count_ && entries_[at].key == key(d)) {
      Entry& entry = entries_[at];
      if (entry.bound) return {Grant::go, entry.endpoint};
      entry.bound = true;
      return {Grant::bind, entry.endpoint};
    }
    if (count_ == capacity_ && !grow()) return {Grant::refuse, no_endpoint};
    for (std::uint32_t i = count_; i > at; --i) entries_[i] = entries_[i - 1];
    entries_[at] = Entry{key(d), count_, true};
    return {Grant::bind, count_++};
  }
  /// Nothing is decided by how many requests are in flight.
  void finish(std::uint32_t, std::uint32_t) noexcept {}
  /// The destination keeps its endpoint's number; its next request binds it anew.
  void release(std::uint32_t endpoint) noexcept {
    for (std::uint32_t i = 0; i < count_; ++i) {
      if (entries_[i].endpoint == endpoint) entries_[i].bound = false;
    }
  }
  [[nodiscard]] std::uint32_t bound(Destination d) const noexcept {
    const std::uint32_t at = position(d);
    const bool found = at < count_ && entries_[at].key == key(d) && entries_[at].bound;
    return found ? entries_[at].endpoint : no_endpoint;
  }
  [[nodiscard]] std::uint32_t endpoints() const noexcept { return count_; }

 private:
  struct Entry {
    std::uint64_t key;
    std::uint32_t endpoint;
    bool bound;
  };

  static std::uint64_t key(Destination d) noexcept {
    return (std::uint64_t{static_cast<std::uint32_t>(d.peer)} << 8) |
           static_cast<std::uint64_t>(d.lane);
  }
  /// The first entry whose key is not less.
  [[nodiscard]] std::uint32_t position(Destination d) const noexcept {
    std::uint32_t low = 0;
    std::uint32_t high = count_;
    while (low < high) {
      const std::uint32_t middle = low + (high - low) / 2;
      if (entries_[middle].key < key(d)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
  bool grow() noexcept {
    const std::uint32_t wanted = capacity_ == 0 ? 16 : 2 * capacity_;
    auto* const more = static_cast<Entry*>(memory_.allocate(wanted * sizeof(Entry)));
    if (more == nullptr) return false;
    for (std::uint32_t i = 0; i < count_; ++i) more[i] = entries_[i];
    if (entries_ != nullptr) memory_.deallocate(entries_, capacity_ * sizeof(Entry));
    entries_ = more;
    capacity_ = wanted;
    return true;
  }

  Memory memory_{};
  Entry* entries_ = nullptr;  ///< sorted by key
  std::uint32_t count_ = 0;
  std::uint32_t capacity_ = 0;
};

}  // namespace mitosis
