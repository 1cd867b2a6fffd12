// SPDX-License-Identifier: MIT
// OpTable: a child's reads that are out. World: any (freestanding).
// Fixed in size: a child that wants more than `max_ops` reads waits, so that no child can use up
// the fabric, and no allocation stands between a fault and its read.
#pragma once

#include <mitosis/fork/engine/plan.hpp>
#include <mitosis/mem/page.hpp>

#include <bit>
#include <cstdint>

namespace mitosis {

enum class OpKind : std::uint8_t { demand, prefetch, eager };

/// A read that is out, as the engine knows it.
struct Op {
  OpKind kind = OpKind::demand;
  bool fill = false;
  bool through_fallback = false;  ///< the one-sided read failed, the owner's CPU was asked
  PageRange pages;                ///< of the child
  PageNumber key{};               ///< of the descriptor
};

/// Hands out slots; bits of one word say which are taken.
class OpTable {
 public:
  static constexpr OpId none = max_ops;

  /// A free slot for a read of that kind, or `none`. Demand reads may use every slot.
  [[nodiscard]] OpId take(OpKind kind) noexcept {
    const unsigned limit = kind == OpKind::demand  ? max_ops
                           : kind == OpKind::eager ? max_eager_ops
                                                   : max_prefetch_ops;
    if (used() >= limit) return none;
    const auto id = static_cast<OpId>(std::countr_one(taken_));
    taken_ |= bit(id);
    ++used_;
    ops_[id] = Op{};
    ops_[id].kind = kind;
    return id;
  }
  /// Frees a taken slot.
  void release(OpId id) noexcept {
    taken_ &= ~bit(id);
    --used_;
  }

  [[nodiscard]] Op& operator[](OpId id) noexcept { return ops_[id]; }
  [[nodiscard]] const Op& operator[](OpId id) const noexcept { return ops_[id]; }
  [[nodiscard]] bool taken(OpId id) const noexcept { return (taken_ & bit(id)) != 0; }
  [[nodiscard]] unsigned used() const noexcept { return used_; }
  /// Calls `visit(OpId)` for every taken slot; `visit` may release it.
  template <class Visit>
  void for_each(Visit&& visit) const noexcept {
    for (std::uint64_t left = taken_; left != 0; left &= left - 1) {
      visit(static_cast<OpId>(std::countr_zero(left)));
    }
  }

 private:
  static constexpr std::uint64_t bit(OpId id) noexcept { return std::uint64_t{1} << id; }
  std::uint64_t taken_ = 0;
  unsigned used_ = 0;  ///< not by popcount: without its instruction that is a libgcc call
  Op ops_[max_ops];
};

}  // namespace mitosis
