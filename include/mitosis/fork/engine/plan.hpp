// SPDX-License-Identifier: MIT
// Plan: what the engine has decided about one fault, or one step of reading ahead. World: any
// (freestanding). Its size is fixed, so that it lives on a kernel stack.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/mem/local_memory.hpp>
#include <mitosis/mem/page.hpp>
#include <mitosis/net/fabric.hpp>

#include <cstdint>

namespace mitosis {

/// Names one read of a child from its plan to its end; an index into a table of `max_ops`.
using OpId = std::uint8_t;

inline constexpr unsigned max_ops = 64;              ///< reads of one child at a time
inline constexpr unsigned max_prefetch_ops = 48;     ///< the rest is kept for demand reads
inline constexpr unsigned max_eager_ops = 16;        ///< reads at a time of an eager start
inline constexpr unsigned max_foreseen_ops = 16;     ///< while more are out, none for later
inline constexpr unsigned max_reads = 16;            ///< reads of one plan
inline constexpr std::uint64_t max_read_pages = 64;  ///< pages of one read
static_assert(max_ops <= 64, "the table's free slots are bits of one word");
static_assert(max_prefetch_ops + max_reads <= max_ops);

/// One one-sided read: `pages` of the child, whose bytes `owner` has at its pages `source` on.
struct Read {
  OpId op = 0;
  Lane lane = Lane::demand;
  bool fill = false;        ///< `into` is the cache's; otherwise the driver finds a landing
  std::uint16_t owner = 0;  ///< index into the descriptor's owners
  PageRange pages;
  PageNumber key{};  ///< the pages' numbers in the descriptor: what the cache knows them by
  PageNumber source{};
  LocalMemory into;
};

/// What to do with the page itself. `none`: nothing (the plan only reads ahead). `wait`: the page
/// is on its way; whoever brings it wakes its waiters. The others are ChildMemory's verbs.
enum class Action : std::uint8_t { none, wait, zero, map_cached, read, fail };

/// Why a plan says `wait`, which tells the driver whether it must ask again by itself.
/// `in_flight`: a read of this child brings it. `filling`: another child's read brings it into
/// the cache. `no_slot`: all of the child's reads are out.
enum class Wait : std::uint8_t { in_flight, filling, no_slot };

/// Post all `reads` with one doorbell: the first is the demand page's where `action` is `read`.
struct Plan {
  Action action = Action::none;
  Wait why = Wait::in_flight;
  Errc error = Errc::ok;  ///< with `fail`
  bool more = false;      ///< from `next_eager`: ask again, the bound on its work was reached
  PageRange range;        ///< with zero, map_cached
  PageNumber key{};       ///< with map_cached, filling
  unsigned count = 0;
  Read reads[max_reads];

  /// Empties the plan without touching the reads behind `count`.
  void clear() noexcept {
    action = Action::none;
    why = Wait::in_flight;
    error = Errc::ok;
    more = false;
    range = {};
    key = {};
    count = 0;
  }
  [[nodiscard]] bool full() const noexcept { return count == max_reads; }
  void add(const Read& read) noexcept { reads[count++] = read; }
};

}  // namespace mitosis
