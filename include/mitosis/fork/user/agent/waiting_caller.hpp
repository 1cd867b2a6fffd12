// SPDX-License-Identifier: MIT
// WaitingCaller: a thread that has asked for its process's capture, and what becomes of it in the
// children. World: user.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/fork/user/local/caller_thread.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mitosis::agent::detail {

struct WaitingCaller {
  std::uint32_t uid = 0;             ///< its user, as the kernel has told
  Span<const std::int32_t> own_fds;  ///< of the library in it
  const local::CallerThread& thread;
};

/// Among the threads, which were stopped, moves the caller to where it wants to go on in a child.
/// A thread is known by its thread pointer, whichever pid namespace its number is of.
inline Result<void> set_off(const local::CallerThread& caller,
                            std::vector<capture::ThreadState>& threads) {
  const std::uint64_t pointer = arch::thread_pointer_of(caller.thread);
  const auto its = [pointer](const capture::ThreadState& t) {
    return arch::thread_pointer_of(t.record) == pointer;
  };
  if (std::count_if(threads.begin(), threads.end(), its) != 1) {
    return Error(Errc::unsupported_process, "the calling thread is not among its threads any more")
        .in("capture");
  }
  capture::ThreadState& found = *std::find_if(threads.begin(), threads.end(), its);
  std::copy(std::begin(caller.thread.registers), std::end(caller.thread.registers),
            found.record.registers);
  found.record.signal_mask = caller.thread.signal_mask;
  found.xstate.assign(caller.xstate, caller.xstate + caller.thread.xstate_bytes);
  return {};
}

}  // namespace mitosis::agent::detail
