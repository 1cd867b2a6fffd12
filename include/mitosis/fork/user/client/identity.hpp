// SPDX-License-Identifier: MIT
// identity(): whether this process is a resumed child, and which. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/fork/user/local/birth.hpp>

#include <cstdint>
#include <optional>

namespace mitosis {

/// A resumed child's. A process that the child forks has its child's; a child that is prepared
/// gives its own children theirs.
struct ChildIdentity {
  std::uint8_t unique[16] = {};         ///< random: no two children ever have the same
  MachineId parent = MachineId::none;   ///< where its parent was prepared, ...
  HandlerId handler{};                  ///< ... as what, ...
  Generation generation{};              ///< ... and the how-manieth time that was, in a way
  MachineId machine = MachineId::none;  ///< where it was resumed
  std::uint64_t instance = 0;  ///< since its agent was started, which child there; none has 0
};

namespace client::detail {
/// Set as a child wakes, before any of its code runs.
inline std::optional<ChildIdentity>& own_identity() noexcept {
  static constinit std::optional<ChildIdentity> own;
  return own;
}

/// `birth` null, or of another version: a child all the same, of whom nothing is known.
inline void take_identity(const local::Birth* birth) noexcept {
  ChildIdentity& own = own_identity().emplace();
  if (birth == nullptr || birth->bytes != sizeof(local::Birth)) return;
  for (int i = 0; i < 16; ++i) own.unique[i] = birth->unique[i];
  own.parent = birth->parent;
  own.handler = birth->handler;
  own.generation = birth->generation;
  own.machine = birth->machine;
  own.instance = birth->instance;
}
}  // namespace client::detail

/// This process's, or none: it was started as any other.
inline std::optional<ChildIdentity> identity() noexcept {
  return client::detail::own_identity();
}

}  // namespace mitosis
