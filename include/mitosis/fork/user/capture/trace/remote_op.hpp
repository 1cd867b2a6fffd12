// SPDX-License-Identifier: MIT
// RemoteOp, RemoteSlot: what the code in a traced process is told to do. World: user.
// All pointers are addresses in that process; the code is in fork/user/arch.
#pragma once

#include <array>
#include <cstdint>

namespace mitosis::capture {

/// One system call. Its result goes to `store`.
struct RemoteOp {
  std::uint64_t number = 0;
  std::array<std::uint64_t, 6> arguments = {};
  std::uint64_t store = 0;
};

/// What one thread does: its ops, and then it waits to be stopped again and put back where it was.
/// If nobody does within `patience`, it goes back by itself (rt_sigreturn from a frame). After a
/// clone op the new process does the shadow's ops, and then reads descriptor 0 until its end.
struct RemoteSlot {
  std::uint64_t first = 0, end = 0;                ///< RemoteOp
  std::uint64_t shadow_first = 0, shadow_end = 0;  ///< RemoteOp
  std::uint64_t done = 0;        ///< address of a word that becomes 1 behind the last op
  std::uint64_t no_signals = 0;  ///< an empty signal set
  std::int64_t patience_seconds = 0, patience_nanoseconds = 0;
  std::uint64_t scratch = 0;
};
static_assert(sizeof(RemoteOp) == 64 && sizeof(RemoteSlot) == 72);

}  // namespace mitosis::capture
