// SPDX-License-Identifier: MIT
// The names of things that more than one machine talks about. World: any (freestanding).
#pragma once

#include <compare>
#include <cstdint>

namespace mitosis {

/// Names a machine in the cluster; chosen by its administrator, unique by agreement.
enum class MachineId : std::uint32_t { none = 0xffffffffu };
/// Names a prepared parent on its machine; chosen by the program that prepares.
enum class HandlerId : std::uint64_t {};
/// Tells two prepared parents of the same handler id apart; grows with each prepare of an agent
/// and is drawn at random at its start, so that a cache never serves an earlier parent's pages.
enum class Generation : std::uint64_t {};

/// 128 random bits; whoever holds them may resume the handler. Compared in constant time.
struct AuthKey {
  std::uint8_t bytes[16] = {};
  friend constexpr bool operator==(const AuthKey& a, const AuthKey& b) noexcept {
    unsigned difference = 0;
    for (int i = 0; i < 16; ++i) difference |= static_cast<unsigned>(a.bytes[i] ^ b.bytes[i]);
    return difference == 0;
  }
};

/// A one-sided read names what it reads by (target number, target key); both are drawn by the
/// owner when it prepares and die at reclaim (on verbs: a DCT target's number and its key, or the
/// remote key of a memory region).
struct TargetName {
  std::uint32_t number = 0;
  std::uint64_t key = 0;
  friend constexpr bool operator==(const TargetName&, const TargetName&) noexcept = default;
};

}  // namespace mitosis
