// SPDX-License-Identifier: MIT
// Flight: a read that is out, as its driver knows it. World: any (freestanding).
#pragma once

#include <mitosis/fork/engine/plan.hpp>
#include <mitosis/net/fabric.hpp>

#include <cstdint>

namespace mitosis {

/// `reading`: on the fabric. `asking`: through the fallback. `pausing`: until `next`, then again.
/// `landed`: the bytes are here and being installed. `changing`: they are here, but the child's map
/// is changing. `expired`: given up, but the fabric may still write into its memory.
enum class Phase : std::uint8_t { reading, asking, pausing, landed, changing, expired };

/// The memory that a read fills is the read's until its completion has come, whatever happens to
/// the child meanwhile.
struct Flight {
  Read read;
  Phase phase = Phase::reading;
  bool filling = false;         ///< the cache waits for end_fill
  bool holds_landing = false;   ///< read.into is to be given back
  std::uint32_t sequence = 0;   ///< of the cookie that counts
  std::uint64_t installed = 0;  ///< pages so far
  Time started = Time::never;   ///< of the fault
  Time posted = Time::never;    ///< of the last attempt
  Time deadline = Time::never;  ///< of the page
  Time next = Time::never;      ///< when on_time must look at it
};

}  // namespace mitosis
