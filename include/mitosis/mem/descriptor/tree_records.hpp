// SPDX-License-Identifier: MIT
// The records of a process tree: a parent that was prepared together with the processes that it
// has made. World: any (freestanding). Part of the wire format, as records.hpp.
#pragma once

#include <mitosis/base/ids.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::descriptor {

/// Processes of one tree, its root included; more are refused: the connections of all but the root
/// come in one packet.
inline constexpr std::size_t max_members = 48;

/// A group or session that no member leads: the root's stands in for it.
inline constexpr std::uint32_t no_leader = 0xffffffffu;

enum MemberFlag : std::uint32_t {
  member_zombie = 1,  ///< has ended, and its parent has not been told; it has no descriptor
  member_gone = 2,    ///< the same, but it was waited for: it only has led a process group
};
inline constexpr std::uint32_t member_known_flags = member_zombie | member_gone;

/// A process of the tree. [0] is the root, whose descriptor this is; a parent comes before its
/// children, which are in the order of their making. Each of the others is prepared under a handler
/// of its own, which lives and ends with the root's.
struct MemberRecord {
  std::uint64_t handler;
  std::uint64_t generation;
  AuthKey key;
  std::uint32_t parent;       ///< index; of the root 0
  std::uint32_t pid;          ///< the number that it has, as ThreadRecord::tid
  std::uint32_t group;        ///< index of its process group's leader, or no_leader
  std::uint32_t session;      ///< index of its session's leader, or no_leader
  std::uint32_t exit_signal;  ///< what its parent is sent at its end
  std::uint32_t status;       ///< of a zombie: as of waitpid(2)
  std::uint32_t flags;        ///< MemberFlag
  std::uint32_t
      first_file;  ///< the open files of the root's descriptor from this number on, up
                   ///< to the next member's, are this one's, and what others share with it
};
static_assert(sizeof(MemberRecord) == 64);

/// It runs no more.
constexpr bool has_ended(const MemberRecord& member) noexcept {
  return (member.flags & (member_zombie | member_gone)) != 0;
}

}  // namespace mitosis::descriptor
