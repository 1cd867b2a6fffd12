// SPDX-License-Identifier: MIT
// LocalMemory: bytes of this machine that a fabric may write. World: any (freestanding).
// It lives in mem, not net, because caches hand it out.
#pragma once

#include <cstdint>

namespace mitosis {

/// Memory of this machine that the fabric may write (verbs: registered, with its local key).
/// A different type from TargetName, so that a remote key cannot be passed for a local one.
struct LocalMemory {
  std::uint8_t* data = nullptr;
  std::uint32_t local_key = 0;
};

}  // namespace mitosis
