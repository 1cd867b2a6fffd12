// SPDX-License-Identifier: MIT
// CallerThread: where the thread that calls prepare goes on in a child, if it is one of several.
// World: user. Plain bytes of one machine's two processes, in Prepare::caller.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/local/shadow_facts.hpp>

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

namespace mitosis::local {

/// Of the record count the registers, with the thread pointer by which the thread is found again,
/// the signal mask and `xstate_bytes`. All else is as it is when the thread is stopped.
struct CallerThread {
  descriptor::ThreadRecord thread = {};
  std::uint8_t xstate[facts_xstate_bytes] = {};
};
static_assert(std::is_trivially_copyable_v<CallerThread>);

inline std::vector<std::uint8_t> bytes_of(const CallerThread& caller) {
  std::vector<std::uint8_t> bytes(sizeof caller);
  std::memcpy(bytes.data(), &caller, sizeof caller);
  return bytes;
}

/// bad_message where the bytes are none.
inline Result<CallerThread> caller_thread_of(Bytes bytes) {
  CallerThread caller;
  if (bytes.size() != sizeof caller) return Error(Errc::bad_message, "the calling thread");
  std::memcpy(&caller, bytes.data(), sizeof caller);
  if (caller.thread.xstate_bytes > sizeof caller.xstate) {
    return Error(Errc::bad_message, "the calling thread's extended state");
  }
  return caller;
}

}  // namespace mitosis::local
