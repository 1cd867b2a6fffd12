// SPDX-License-Identifier: MIT
// What /proc says about processes of the testbed: who is there, and what they hold. World: user.
// A process is the testbed's own if it is in one of its network namespaces, whoever started it:
// so two runs at the same time do not see each other's.
#pragma once

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace mitosis::testbed {

/// The name of a process (at most 15 bytes), "" if it is gone.
inline std::string name_of(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

/// State as in ps (R, S, T, Z, ...); 0 if it is gone.
inline char state_of(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t end = line.rfind(')');
  return end == std::string::npos || end + 2 >= line.size() ? '\0' : line[end + 2];
}

/// Children that the process's main thread has made, zombies included.
inline std::vector<int> children_of(int pid) {
  const std::string id = std::to_string(pid);
  std::ifstream file("/proc/" + id + "/task/" + id + "/children");
  std::vector<int> pids;
  for (int child = 0; file >> child;) pids.push_back(child);
  return pids;
}

/// Calls `visit(number)` for each entry of a directory whose name is a number.
template <class Visit>
void for_each_number(const std::string& path, Visit visit) {
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    int number = 0;
    const auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (bad == std::errc{} && end == name.data() + name.size()) visit(number);
  }
  ::closedir(dir);
}

/// How many descriptors a process has open; 0 if it is gone.
inline int descriptors_of(int pid) {
  int count = 0;
  for_each_number("/proc/" + std::to_string(pid) + "/fd", [&count](int) { ++count; });
  return count;
}

/// Processes inside a network namespace.
inline std::vector<int> processes_in(int network) {
  std::vector<int> pids;
  struct stat wanted = {};
  if (::fstat(network, &wanted) != 0) return pids;
  for_each_number("/proc", [&](int pid) {
    struct stat its = {};
    const std::string path = "/proc/" + std::to_string(pid) + "/ns/net";
    if (::stat(path.c_str(), &its) == 0 && its.st_ino == wanted.st_ino) pids.push_back(pid);
  });
  return pids;
}

/// "123 mitosis, 130 mitosis-shadow": for a test's message.
inline std::string describe_processes(const std::vector<int>& pids) {
  std::ostringstream text;
  for (const int pid : pids) {
    text << (text.tellp() > 0 ? ", " : "") << pid << ' ' << name_of(pid) << ' ' << state_of(pid);
  }
  return text.str();
}

}  // namespace mitosis::testbed
