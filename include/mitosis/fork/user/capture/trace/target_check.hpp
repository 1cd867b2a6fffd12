// SPDX-License-Identifier: MIT
// check_target: what cannot be traced, refused by name before it is stopped. World: user.
#pragma once

#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_text.hpp>

#include <string>
#include <string_view>

namespace mitosis::capture {

/// A helper of an agent whose worker was killed meanwhile finishes what it does by itself: waits
/// for its end, for a second at most. Those of a living worker take turns.
inline void await_orphaned_tracer(pid_t pid) {
  for (int waited_ms = 0; waited_ms < 1'000; ++waited_ms) {
    const Result<UniqueFd> process = open_process(pid);
    const auto status = process ? read_at(process->get(), "status", 1u << 20) : process.error();
    const auto tracer = number<pid_t>(status ? field(view(*status), "TracerPid") : "");
    if (!tracer || *tracer == 0) return;
    const Result<UniqueFd> other = open_process(*tracer);
    const auto name = other ? read_at(other->get(), "comm", 64) : other.error();
    if (name && !view(*name).starts_with("mitosis-")) return;
    (void)::usleep(1'000);
  }
}

/// Kernel threads, zombies, stopped and traced processes, those that share their memory with
/// another process (vfork). What is 32-bit shows in its registers.
inline Result<void> check_target(pid_t pid) {
  const auto refuse = [](const std::string& what) {
    return Error(Errc::unsupported_process, what.c_str()).in("check the process");
  };
  const Result<UniqueFd> process = open_process(pid);
  if (!process) return process.error();
  const Result<std::vector<char>> status = read_at(process->get(), "status", 1u << 20);
  if (!status) return status.error();
  const std::string_view text = view(*status);
  if (number(field(text, "Tgid")) != static_cast<std::uint64_t>(pid)) {
    return refuse("it is a thread, not a process: give the process's pid");
  }
  const std::string_view state = field(text, "State");
  if (state.starts_with('Z') || state.starts_with('X')) {
    return refuse("it has exited, or its main thread has");
  }
  if (field(text, "VmSize").empty()) return refuse("it is a kernel thread");
  if (const auto tracer = number(field(text, "TracerPid")); tracer.value_or(0) != 0) {
    return refuse(fmt::format("process {} traces it (ptrace); detach first", *tracer));
  }
  if (state.starts_with('T'))
    return refuse("it is stopped by a signal (SIGSTOP); continue it first");
  if (const auto parent = number<pid_t>(field(text, "PPid")); parent.value_or(0) > 0) {
    if (::syscall(SYS_kcmp, pid, *parent, KCMP_VM, 0, 0) == 0) {
      return refuse(fmt::format("it shares its memory with process {} (vfork)", *parent));
    }
  }
  return {};
}

}  // namespace mitosis::capture
