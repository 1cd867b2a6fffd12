// SPDX-License-Identifier: MIT
// Processes of other pid namespaces, as /proc tells. World: user.
// A userfaultfd names the thread that faults by its number in its own namespace.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

namespace mitosis::agent {

/// What tells pid namespaces apart; 0 where the process is gone. `pid`: "self", or as we see it.
inline std::uint64_t pid_namespace_of(const std::string& pid) noexcept {
  struct stat is = {};
  return ::stat(("/proc/" + pid + "/ns/pid").c_str(), &is) == 0 ? is.st_ino : 0;
}

/// The process that has `number` in the pid namespace, as we see it; 0 where there is none.
inline std::uint32_t process_in(std::uint64_t pid_namespace, std::uint32_t number) {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", failed)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    if (pid_namespace_of(pid) != pid_namespace) continue;
    std::ifstream status(entry.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (!line.starts_with("NStgid:")) continue;
      std::istringstream numbers(line.substr(7));
      std::uint32_t innermost = 0;
      for (std::uint32_t n = 0; numbers >> n;) innermost = n;
      if (innermost == number) return static_cast<std::uint32_t>(std::stoul(pid));
    }
  }
  return 0;
}

}  // namespace mitosis::agent
