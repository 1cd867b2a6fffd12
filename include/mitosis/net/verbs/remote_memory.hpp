// SPDX-License-Identifier: MIT
// RemoteMemory: bytes of another machine that a queue pair may read or write. World: user.
// A type of its own, so that a local key cannot be passed for a remote one.
#pragma once

#include <cstdint>

namespace mitosis::verbs {

/// `address` is what the owner's registration calls it, not necessarily an address of a process.
struct RemoteMemory {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t remote_key = 0;
};

/// Where some bytes of a target are: `door` counts its doors, through which dynamic connections go.
struct RemotePart : RemoteMemory {
  std::uint32_t door = 0;
};

}  // namespace mitosis::verbs
