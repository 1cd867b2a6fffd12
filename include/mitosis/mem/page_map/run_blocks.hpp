// SPDX-License-Identifier: MIT
// RunBlocks: a sorted sequence of runs in blocks, the page map's memory. World: any (freestanding).
// Blocks bound the work of a change; the index over them keeps a search to two halvings; blocks
// fetched in advance (`reserve`) make a change of several steps unable to fail in the middle.
#pragma once

#include <mitosis/mem/allocator.hpp>
#include <mitosis/mem/page_map/run.hpp>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace mitosis::detail {

/// Knows nothing of what runs mean, only of their order. No block is empty, and two neighbours
/// have together more than a quarter of what they could hold, so memory follows the runs.
template <Allocator A, unsigned BlockRuns>
class RunBlocks {
  static_assert(BlockRuns >= 8, "Make blocks of at least 8 runs: half a block must take 3 more.");

 public:
  /// The place of a run, or of one to insert; `end()` is {blocks, 0}.
  struct Cursor {
    std::size_t block = 0;
    std::uint32_t slot = 0;
    friend constexpr bool operator==(const Cursor&, const Cursor&) noexcept = default;
  };

  explicit RunBlocks(A allocator) noexcept : allocator_(allocator) {}
  RunBlocks(RunBlocks&& other) noexcept
      : allocator_(other.allocator_),
        index_(std::exchange(other.index_, nullptr)),
        blocks_(std::exchange(other.blocks_, 0)),
        capacity_(std::exchange(other.capacity_, 0)),
        runs_(std::exchange(other.runs_, 0)),
        spare_(std::exchange(other.spare_, nullptr)),
        spares_(std::exchange(other.spares_, 0)) {}
  RunBlocks& operator=(RunBlocks&& other) noexcept {
    if (this != &other) {
      clear();
      allocator_.~A();
      ::new (static_cast<void*>(&allocator_)) A(other.allocator_);
      index_ = std::exchange(other.index_, nullptr);
      blocks_ = std::exchange(other.blocks_, 0);
      capacity_ = std::exchange(other.capacity_, 0);
      runs_ = std::exchange(other.runs_, 0);
      spare_ = std::exchange(other.spare_, nullptr);
      spares_ = std::exchange(other.spares_, 0);
    }
    return *this;
  }
  RunBlocks(const RunBlocks&) = delete;
  RunBlocks& operator=(const RunBlocks&) = delete;
  ~RunBlocks() { clear(); }

  [[nodiscard]] std::size_t runs() const noexcept { return runs_; }
  [[nodiscard]] std::size_t blocks() const noexcept { return blocks_; }
  [[nodiscard]] const A& allocator() const noexcept { return allocator_; }
  [[nodiscard]] Cursor end() const noexcept { return {blocks_, 0}; }
  [[nodiscard]] std::uint32_t size_of(std::size_t block) const noexcept {
    return index_[block].block->size;
  }
  [[nodiscard]] const PageRun& operator[](Cursor c) const noexcept {
    return index_[c.block].block->runs[c.slot];
  }
  [[nodiscard]] Cursor next(Cursor c) const noexcept {
    if (++c.slot < size_of(c.block)) return c;
    return {c.block + 1, 0};
  }
  [[nodiscard]] Cursor previous(Cursor c) const noexcept {
    if (c.slot > 0) return {c.block, c.slot - 1};
    return {c.block - 1, size_of(c.block - 1) - 1};
  }
  /// The first run that begins at `page` or later.
  [[nodiscard]] Cursor first_from(PageNumber page) const noexcept {
    std::size_t low = 0, high = blocks_;  // the first block that begins at `page` or later
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (index_[middle].first < page) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == 0) return {0, 0};
    const Block& before = *index_[low - 1].block;
    std::uint32_t from = 0, to = before.size;
    while (from < to) {
      const std::uint32_t middle = from + (to - from) / 2;
      if (before.runs[middle].range.first < page) {
        from = middle + 1;
      } else {
        to = middle;
      }
    }
    return from < before.size ? Cursor{low - 1, from} : Cursor{low, 0};
  }

  /// Makes sure that `count` blocks can be added without asking the allocator. On failure nothing
  /// has changed.
  [[nodiscard]] bool reserve(std::size_t count) noexcept;
  /// Whether replacing [from, to) by `pieces` (at most 3) runs needs a reserved block.
  [[nodiscard]] bool needs_block(Cursor from, Cursor to, unsigned pieces) const noexcept;
  /// Replaces the runs of [from, to). Cannot fail where `needs_block` blocks are reserved.
  void replace(Cursor from, Cursor to, const PageRun* pieces, unsigned count) noexcept;
  /// Gives back reserved blocks that were not needed; keeps one against going back and forth.
  void trim(std::size_t keep = 1) noexcept;
  /// Copies everything into `copy`, which must be empty. On failure it is left empty.
  [[nodiscard]] bool copy_into(RunBlocks& copy) const noexcept;
  void clear() noexcept;

 private:
  struct Block {
    Block* next_spare;
    std::uint32_t size;
    PageRun runs[BlockRuns];
  };
  struct Entry {
    PageNumber first;  ///< of the block's first run: a search touches one block only
    Block* block;
  };

  Cursor erase(Cursor from, Cursor to) noexcept;
  void insert(Cursor& at, const PageRun& run) noexcept;
  void merge_with_next(std::size_t block) noexcept;
  void add_block(std::size_t at) noexcept;
  void drop_blocks(std::size_t from, std::size_t to) noexcept;
  void refresh(std::size_t block) noexcept {
    index_[block].first = index_[block].block->runs[0].range.first;
  }
  /// memmove of runs or index entries. An allocator with a member `touched` is told how many:
  /// tests count the work by it.
  template <class T>
  void shift(T* to, const T* from, std::size_t count) noexcept {
    if (count != 0) __builtin_memmove(static_cast<void*>(to), from, count * sizeof(T));
    if constexpr (requires { allocator_.touched(count); }) allocator_.touched(count);
  }

  [[no_unique_address]] A allocator_;
  Entry* index_ = nullptr;
  std::size_t blocks_ = 0, capacity_ = 0, runs_ = 0;
  Block* spare_ = nullptr;
  std::size_t spares_ = 0;
};

}  // namespace mitosis::detail

#include <mitosis/mem/page_map/run_blocks_impl.hpp>
