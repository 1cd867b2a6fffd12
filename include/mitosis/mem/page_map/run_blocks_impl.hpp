// SPDX-License-Identifier: MIT
// The changes of RunBlocks: see run_blocks.hpp. World: any (freestanding).
#pragma once

#include <mitosis/mem/page_map/run_blocks.hpp>

#include <cstddef>
#include <cstdint>
#include <new>

namespace mitosis::detail {

template <Allocator A, unsigned BlockRuns>
bool RunBlocks<A, BlockRuns>::reserve(std::size_t count) noexcept {
  const std::size_t before = spares_;
  while (spares_ < count) {
    void* memory = allocator_.allocate(sizeof(Block));
    if (memory == nullptr) {
      trim(before);
      return false;
    }
    auto* block = ::new (memory) Block;
    block->next_spare = spare_;
    block->size = 0;
    spare_ = block;
    ++spares_;
  }
  if (blocks_ + count <= capacity_) return true;
  std::size_t capacity = capacity_ == 0 ? 4 : capacity_ * 2;
  if (capacity < blocks_ + count) capacity = blocks_ + count;
  auto* index = static_cast<Entry*>(allocator_.allocate(capacity * sizeof(Entry)));
  if (index == nullptr) {
    trim(before);
    return false;
  }
  shift(index, index_, blocks_);
  if (index_ != nullptr) allocator_.deallocate(index_, capacity_ * sizeof(Entry));
  index_ = index;
  capacity_ = capacity;
  return true;
}

template <Allocator A, unsigned BlockRuns>
bool RunBlocks<A, BlockRuns>::needs_block(Cursor from, Cursor to, unsigned pieces) const noexcept {
  if (pieces == 0) return false;
  if (blocks_ == 0) return true;
  // The size that the block which takes the pieces has after the erasure: see erase and insert.
  std::size_t left = 0;
  if (from.block == to.block && from.block < blocks_) {
    left = size_of(from.block) - (to.slot - from.slot);
  } else if (from.slot > 0) {
    left = from.slot;
  } else if (to.block < blocks_) {
    left = size_of(to.block) - to.slot;
  } else if (from.block > 0) {
    left = size_of(from.block - 1);
  }
  return left + pieces > BlockRuns;
}

template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::replace(Cursor from, Cursor to, const PageRun* pieces,
                                      unsigned count) noexcept {
  Cursor at = erase(from, to);
  for (unsigned i = 0; i < count; ++i) insert(at, pieces[i]);
  if (at.block < blocks_) merge_with_next(at.block);
  if (at.block > 0) merge_with_next(at.block - 1);
}

/// Returns where the first erased run was; its slot may be one past its block's last.
template <Allocator A, unsigned BlockRuns>
auto RunBlocks<A, BlockRuns>::erase(Cursor from, Cursor to) noexcept -> Cursor {
  if (from == to) return from;
  if (from.block == to.block) {
    Block& block = *index_[from.block].block;
    shift(block.runs + from.slot, block.runs + to.slot, block.size - to.slot);
    block.size -= to.slot - from.slot;  // not to zero: then `to` were in the next block
    runs_ -= to.slot - from.slot;
    if (from.slot == 0) refresh(from.block);
    return from;
  }
  if (to.slot > 0) {
    Block& last = *index_[to.block].block;
    shift(last.runs, last.runs + to.slot, last.size - to.slot);
    last.size -= to.slot;
    runs_ -= to.slot;
    refresh(to.block);
  }
  Block& first = *index_[from.block].block;
  runs_ -= first.size - from.slot;
  first.size = from.slot;
  for (std::size_t b = from.block + 1; b < to.block; ++b) runs_ -= size_of(b);
  drop_blocks(from.slot == 0 ? from.block : from.block + 1, to.block);
  return from;
}

/// Inserts before `at` and moves `at` past the new run.
template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::insert(Cursor& at, const PageRun& run) noexcept {
  if (blocks_ == 0) {
    add_block(0);
    at = {0, 0};
  } else if (at.block == blocks_) {
    at = {blocks_ - 1, size_of(blocks_ - 1)};
  }
  if (size_of(at.block) == BlockRuns) {
    // At the very end a new block is begun, so that what is filled in order is filled densely.
    const std::uint32_t keep = at.slot == BlockRuns ? BlockRuns : BlockRuns / 2;
    add_block(at.block + 1);
    Block& full = *index_[at.block].block;
    Block& fresh = *index_[at.block + 1].block;
    shift(fresh.runs, full.runs + keep, BlockRuns - keep);
    fresh.size = BlockRuns - keep;
    full.size = keep;
    if (fresh.size > 0) refresh(at.block + 1);
    if (at.slot >= keep) at = {at.block + 1, at.slot - keep};
  }
  Block& block = *index_[at.block].block;
  shift(block.runs + at.slot + 1, block.runs + at.slot, block.size - at.slot);
  block.runs[at.slot] = run;
  ++block.size;
  ++runs_;
  if (at.slot == 0) refresh(at.block);
  ++at.slot;
}

template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::merge_with_next(std::size_t block) noexcept {
  if (block + 1 >= blocks_) return;
  Block& left = *index_[block].block;
  const Block& right = *index_[block + 1].block;
  if (left.size + right.size > BlockRuns / 2) return;
  shift(left.runs + left.size, right.runs, right.size);
  left.size += right.size;
  drop_blocks(block + 1, block + 2);
}

/// Puts a reserved block at `at`, empty: the caller fills it.
template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::add_block(std::size_t at) noexcept {
  Block* block = spare_;
  spare_ = block->next_spare;
  --spares_;
  shift(index_ + at + 1, index_ + at, blocks_ - at);
  index_[at] = {PageNumber{}, block};
  block->size = 0;
  ++blocks_;
}

template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::drop_blocks(std::size_t from, std::size_t to) noexcept {
  if (from >= to) return;
  for (std::size_t b = from; b < to; ++b) {
    Block* block = index_[b].block;
    block->next_spare = spare_;
    spare_ = block;
    ++spares_;
  }
  shift(index_ + from, index_ + to, blocks_ - to);
  blocks_ -= to - from;
}

template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::trim(std::size_t keep) noexcept {
  while (spares_ > keep) {
    Block* block = spare_;
    spare_ = block->next_spare;
    --spares_;
    block->~Block();
    allocator_.deallocate(block, sizeof(Block));
  }
}

template <Allocator A, unsigned BlockRuns>
bool RunBlocks<A, BlockRuns>::copy_into(RunBlocks& copy) const noexcept {
  if (!copy.reserve(blocks_)) return false;
  for (std::size_t b = 0; b < blocks_; ++b) {
    copy.add_block(b);
    const Block& from = *index_[b].block;
    Block& to = *copy.index_[b].block;
    copy.shift(to.runs, from.runs, from.size);
    to.size = from.size;
    copy.refresh(b);
  }
  copy.runs_ = runs_;
  return true;
}

template <Allocator A, unsigned BlockRuns>
void RunBlocks<A, BlockRuns>::clear() noexcept {
  drop_blocks(0, blocks_);
  trim(0);
  if (index_ != nullptr) allocator_.deallocate(index_, capacity_ * sizeof(Entry));
  index_ = nullptr;
  capacity_ = runs_ = 0;
}

}  // namespace mitosis::detail
