// SPDX-License-Identifier: MIT
// left_open(): the descriptors that a restorer has left open in a child of this agent. World: user.
// A child's own userfaultfd, so that its pager's death does not turn pages into zeros: no file of
// the program's. The next hop's child has another one.
#pragma once

#include <dirent.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/state_table.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::agent {

namespace detail {

/// Whether it is a userfaultfd that this agent serves, or one that a process which a child has
/// forked has of its parent.
inline bool is_served(pid_t pid, std::int32_t fd, const StateTable& table) noexcept {
  for (std::size_t i = 0; i < max_children; ++i) {
    if (table.child_of[i].load(std::memory_order_relaxed) == 0) continue;
    const ChildSlot& slot = table.children[i];
    if (slot.state.load() != static_cast<std::uint32_t>(SlotState::live)) continue;
    if (slot.forked_from != 0 && slot.pid == static_cast<std::uint32_t>(pid)) return true;
    if (::syscall(SYS_kcmp, pid, ::getpid(), KCMP_FILE, fd, slot.uffd) == 0) return true;
  }
  return false;
}

}  // namespace detail

/// None where the process is no child of this agent.
inline std::vector<std::int32_t> left_open(pid_t pid, const StateTable& table) {
  std::vector<std::int32_t> fds;
  const std::string folder = "/proc/" + std::to_string(pid) + "/fd";
  DIR* const directory = ::opendir(folder.c_str());
  if (directory == nullptr) return fds;
  while (const dirent* entry = ::readdir(directory)) {
    const auto fd = capture::number<std::int32_t>(entry->d_name);
    char target[64] = {};
    if (!fd || ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target - 1) <= 0) {
      continue;
    }
    if (std::string_view(target) == "anon_inode:[userfaultfd]" &&
        detail::is_served(pid, *fd, table)) {
      fds.push_back(*fd);
    }
  }
  ::closedir(directory);
  return fds;
}

}  // namespace mitosis::agent
