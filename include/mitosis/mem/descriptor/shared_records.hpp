// SPDX-License-Identifier: MIT
// The records of shared memory: objects that several mappings, and a child's own children, share.
// World: any (freestanding). Part of the wire format, as records.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mitosis::descriptor {

/// More objects of one process are refused: each is a descriptor that is handed to its resumer.
inline constexpr std::size_t max_shared_objects = 48;

/// Where the pages of shared objects are found at owner 0: above all user addresses.
inline constexpr std::uint64_t shared_source_start = std::uint64_t{1} << 56;

/// An object of shared memory; a VMA of kind shared_object shows a part of it. What is in no run
/// of it is zero.
struct SharedObjectRecord {
  std::uint64_t bytes;  ///< its size, not always whole pages
  std::uint32_t name;   ///< string: as /proc/PID/maps showed it
  std::uint32_t reserved;
};
static_assert(sizeof(SharedObjectRecord) == 16);

/// `count` pages of an object, from `page` of it on, which owner 0 has at its own pages `source`,
/// ...
struct SharedRunRecord {
  std::uint64_t page;
  std::uint64_t source;
  std::uint32_t count;
  std::uint32_t object;  ///< index into shared_objects
};
static_assert(sizeof(SharedRunRecord) == 24);

}  // namespace mitosis::descriptor
