// SPDX-License-Identifier: MIT
// EndedShadow: a shadow that may have become a zombie of a process that does not know it. World:
// user.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/has_ended.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/stat_fields.hpp>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// Held by a pidfd: as long as it has not been reaped, its number is not another's.
struct EndedShadow {
  pid_t pid = 0;
  UniqueFd pidfd;

  /// Nobody needs to reap it any more.
  [[nodiscard]] bool is_reaped() const noexcept {
    return ::syscall(SYS_pidfd_send_signal, pidfd.get(), 0, nullptr, 0) != 0 && errno == ESRCH;
  }
  [[nodiscard]] bool is_zombie() const noexcept {
    return detail::has_ended(pidfd.get()) && !is_reaped();
  }
};

namespace detail {

/// The parent of the zombie `pid` if that is a shadow which only this parent can reap, else 0: one
/// whose exit signal is none. A process that was handed on to another parent has SIGCHLD, so no
/// program's own child is taken from it, whatever its name is.
inline pid_t parent_of_shadow(pid_t pid) {
  const auto process = capture::open_process(pid);
  const auto stat = process ? capture::read_at(process->get(), "stat", 4096) : process.error();
  if (!stat) return 0;
  const auto field = capture::StatFields::split(capture::view(*stat));
  if (!field || field->name() != "mitosis-shadow") return 0;
  if ((*field)[3] != "Z" || (*field)[38] != "0") return 0;  // its state, its exit signal
  return capture::number<pid_t>((*field)[4]).value_or(0);
}

}  // namespace detail

/// Those of all processes, which an agent that was killed has left.
inline std::vector<EndedShadow> find_ended_shadows() {
  std::vector<EndedShadow> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const auto pid = capture::number<pid_t>(entry.path().filename().string());
    if (!pid || detail::parent_of_shadow(*pid) == 0) continue;
    EndedShadow shadow{*pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)))};
    if (shadow.pidfd && detail::parent_of_shadow(*pid) != 0) found.push_back(std::move(shadow));
  }
  return found;
}

}  // namespace mitosis::agent
