// SPDX-License-Identifier: MIT
// Transfer: a one-sided read or write between the memory of two pools' processes. World: user.
#pragma once

#include <cstdint>

namespace mitosis::pool {

/// A process that is attached to this machine's pool; never given twice.
using ProcessId = std::uint32_t;

/// What one process exposes to others, as peers address it.
struct Region {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t remote_key = 0;
};

/// One one-sided transfer. It ends in `Switchboard::on_transferred` with the same tag.
struct Transfer {
  std::uint64_t tag = 0;
  bool write = false;
  ProcessId process = 0;  ///< whose data
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
  std::uint64_t remote_address = 0;
  std::uint32_t remote_key = 0;
};

}  // namespace mitosis::pool
