// SPDX-License-Identifier: MIT
// Keeper: the guard, which outlives keeper and worker where both are killed at once. World: user.
// Included by keeper.hpp only, before keeper_impl.hpp.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/fork_with_our_fds.hpp>
#include <mitosis/fork/user/agent/has_ended.hpp>
#include <mitosis/fork/user/agent/keeper.hpp>
#include <mitosis/fork/user/agent/uffd.hpp>

#include <cerrno>

namespace mitosis::agent {

/// Of the keeper's own copy of everything: descriptors shared, the state table too.
inline Result<void> Keeper::start_guard() {
  guard_pid_ = -1;
  auto pid = detail::fork_with_our_fds("start the guard");
  if (!pid) return pid.error();
  if (*pid == 0) {
    ::prctl(PR_SET_NAME, "mitosis-guard");
    ::_exit(guard());
  }
  guard_pid_ = *pid;
  return {};
}

/// Before the keeper returns: nothing of ours may be held open any longer.
inline void Keeper::end_guard() noexcept {
  if (guard_pid_ < 0) return;
  ::kill(guard_pid_, SIGKILL);
  while (::waitpid(guard_pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  guard_pid_ = -1;
}

/// 1. Wait for the keeper's end. 2. Wait for the worker's, which the kernel tells of it. 3. Where
/// it could not end the children in order, do it.
inline int Keeper::guard() {
  while (!detail::has_ended(self_.get(), -1)) {
  }
  wait_for_the_worker();
  return table_.ended.load() != 0 ? 0 : end_orphans();
}

inline void Keeper::wait_for_the_worker() const noexcept {
  // 0: it was never scheduled; it will see that its keeper is gone, and end.
  const int pid = table_.worker_pid.load();
  if (pid == 0) return;
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  const auto limit = std::chrono::milliseconds(2 * stop_deadline).count();
  if (detail::has_ended(pidfd.get(), static_cast<int>(limit))) return;
  ::syscall(SYS_pidfd_send_signal, pidfd.get(), SIGKILL, nullptr, 0);
  (void)detail::has_ended(pidfd.get(), -1);
}

/// A last worker takes the children over and is told to stop at once: so each ends by signal, and
/// a process that a child has forked, which no pid names, gets SIGBUS rather than zeros.
inline int Keeper::end_orphans() {
  constexpr auto live = static_cast<std::uint32_t>(SlotState::live);
  bool any = false;
  for (const ChildSlot& slot : table_.children) any = any || slot.state.load() == live;
  if (!any) return 0;
  spdlog::error("keeper and worker were killed; their children are ended");
  close_what_the_worker_left();
  if (auto r = start_worker(); r) {
    ::kill(worker_pid_, SIGTERM);  // which it has blocked until it has started
    int status = 0;
    while (::waitpid(worker_pid_, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 0;
  }
  kill_children();
  // Nothing more can be done for the nameless: held open, their userfaultfds keep them asleep.
  for (const ChildSlot& slot : table_.children) {
    while (slot.state.load() == live && Uffd(slot.uffd).alive()) (void)::usleep(100'000);
  }
  return 1;
}

}  // namespace mitosis::agent
