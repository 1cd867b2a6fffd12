// SPDX-License-Identifier: MIT
// own_fds(): the descriptors in a program that are mitosis's, not the program's. World: user.
// They are neither an obstacle to a prepare nor come along.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <mitosis/fork/user/client/connections.hpp>
#include <mitosis/fork/user/client/identity.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace mitosis::client {

/// The connections to agents; in a resumed child also the userfaultfd that the restorer left open,
/// so that the pager's death does not turn pages into zeros.
inline std::vector<std::int32_t> own_fds() {
  std::vector<std::int32_t> fds;
  connections().for_each([&](int fd) { fds.push_back(fd); });
  if (!identity()) return fds;
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return fds;
  while (const dirent* entry = ::readdir(directory)) {
    char target[64] = {};
    const ssize_t n = ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof(target) - 1);
    if (n > 0 && std::strcmp(target, "anon_inode:[userfaultfd]") == 0) {
      fds.push_back(std::atoi(entry->d_name));
    }
  }
  ::closedir(directory);
  return fds;
}

}  // namespace mitosis::client
