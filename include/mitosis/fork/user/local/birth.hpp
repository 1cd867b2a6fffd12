// SPDX-License-Identifier: MIT
// Birth: what a child of a cooperative prepare is told of itself. World: user.
// Plain data: the launcher leaves it in the child's memory, where the child finds it as it wakes.
#pragma once

#include <mitosis/base/ids.hpp>

#include <cstdint>
#include <type_traits>

namespace mitosis::local {

struct Birth {
  /// sizeof: the launcher and the library in the child's memory may be of two versions. The socket
  /// is where it always was.
  std::uint32_t bytes = sizeof(Birth);
  char socket[108] = {};                ///< of the agent that has resumed it; empty: unknown
  MachineId parent = MachineId::none;   ///< where the handler was prepared
  MachineId machine = MachineId::none;  ///< where it was resumed
  HandlerId handler{};
  Generation generation{};
  std::uint64_t instance = 0;    ///< the agent's number of it, which no other child there has
  std::uint8_t unique[16] = {};  ///< random: no two children ever have the same
};
static_assert(std::is_trivially_copyable_v<Birth> && std::is_standard_layout_v<Birth>);

}  // namespace mitosis::local
