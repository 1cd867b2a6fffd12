// SPDX-License-Identifier: MIT
// reap_child(): has a running process bury a child of its that has ended. World: user.
// A shadow is a child that its parent does not know: where the agent ends it, nobody waits for it.
// Who else but the parent could: neither wait(2) nor ptrace(2) reap another's child. Runs in a
// process of its own, as freeze() does.
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <mitosis/fork/user/capture/namespace_pids.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/trace/stop_clock.hpp>
#include <mitosis/fork/user/capture/trace/system_call_site.hpp>
#include <mitosis/fork/user/capture/trace/target_check.hpp>
#include <mitosis/fork/user/capture/trace/traced_thread.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace mitosis::capture {

namespace detail {

/// Its number as `parent` knows it, which may live in another pid namespace than the caller.
inline Result<std::uint64_t> number_in_namespace_of(pid_t parent, pid_t child) {
  const auto parents = namespace_pids(parent), childs = namespace_pids(child);
  if (!parents) return parents.error();
  if (!childs) return childs.error();
  const std::size_t depth = parents->size();  // from ours down to the parent's
  if (depth != 0 && depth <= childs->size()) return (*childs)[depth - 1];
  return Error(Errc::system_call_failed, "NSpid").in("reap a shadow");
}

}  // namespace detail

/// `child` must be a zombie of `parent`'s. The parent's main thread stands still for some system
/// calls' time, and goes on as if nothing had been. Errors: why it cannot be stopped now (it is
/// traced by another, or stopped); unsupported_process where it has no such child any more.
inline Result<void> reap_child(pid_t parent, pid_t child) {
  constexpr std::chrono::milliseconds stop_patience{500};
  if (Result<void> ok = check_target(parent); !ok) return ok;
  const Result<std::uint64_t> number = detail::number_in_namespace_of(parent, child);
  if (!number) return number.error();
  const Result<UniqueFd> process = open_process(parent);
  if (!process) return process.error();
  const UniqueFd memory(::openat(process->get(), "mem", O_RDONLY | O_CLOEXEC));
  if (!memory) return Error(Errc::missing_privilege, "/proc/PID/mem", errno).in("reap a shadow");

  Result<TracedThread> leader = TracedThread::seize(parent);
  if (!leader) return leader.error();
  const StopClock clock(stop_patience);
  if (Result<void> ok = leader->interrupt(); !ok) return ok;
  const Result<TracedThread::Stop> stop = leader->wait(clock);
  if (!stop) return stop.error();
  if (*stop != TracedThread::Stop::held) {
    return Error(Errc::unsupported_process, "it is stopped by a signal").in("reap a shadow");
  }
  if (Result<void> ok = leader->hold(); !ok) return ok;
  const auto instruction = find_system_call(*leader, process->get(), memory.get());
  if (!instruction) return instruction.error();
  const auto reaped =
      leader->call(clock, *instruction, SYS_wait4,
                   {*number, 0, static_cast<std::uint32_t>(__WALL) | WNOHANG, 0, 0, 0});
  if (!reaped) return reaped.error();
  if (*reaped == static_cast<std::int64_t>(*number)) return {};
  return Error(Errc::unsupported_process, "it has no such child").in("reap a shadow");
}

}  // namespace mitosis::capture
