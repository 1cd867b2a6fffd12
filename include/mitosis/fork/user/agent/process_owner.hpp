// SPDX-License-Identifier: MIT
// check_owner: does a process belong to the user who speaks for it? World: user.
#pragma once

#include <sys/stat.h>

#include <mitosis/base/result.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace mitosis::agent {

/// The agent may look into every process, its callers may not. A packet says who its sender was as
/// it was sent; since then the process may have executed a set-uid program, or ended and left its
/// pid to another. What a user may look into has a /proc directory of his.
inline Result<void> check_owner(int pid, std::uint32_t uid) noexcept {
  if (uid == 0) return {};
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d", pid);
  struct stat about = {};
  if (::stat(path, &about) != 0) return Error(Errc::child_died, path, errno).in("check its owner");
  if (about.st_uid == uid) return {};
  return Error(Errc::not_permitted, "the process has other rights than its user")
      .in("check its owner");
}

}  // namespace mitosis::agent
