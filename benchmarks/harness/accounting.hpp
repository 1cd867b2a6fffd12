// SPDX-License-Identifier: MIT
// What processes take up: memory, file descriptors, threads, and who their children are. World:
// user. All from /proc; a process that has gone counts as nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace bench {

/// The number after "name:" in a file of /proc, 0 where there is none.
inline std::uint64_t proc_field(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, name.size() + 1, name + ":") == 0) {
      return std::stoull("0" + line.substr(line.find_first_of("0123456789", name.size())));
    }
  }
  return 0;
}

/// Bytes that exist for this process alone: its private pages (not those of a file or a memfd that
/// it maps unchanged) and its page tables.
inline std::uint64_t own_bytes(int pid) {
  const std::string proc = "/proc/" + std::to_string(pid);
  return 1024 *
         (proc_field(proc + "/smaps_rollup", "Anonymous") + proc_field(proc + "/status", "VmPTE"));
}

/// `pid` and all its descendants.
inline std::vector<int> process_tree(int pid) {
  std::vector<int> tree = {pid};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    std::error_code gone;
    const std::string tasks = "/proc/" + std::to_string(tree[i]) + "/task";
    for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
      std::ifstream children(task.path() / "children");
      for (int child = 0; children >> child;) tree.push_back(child);
    }
  }
  return tree;
}

struct Footprint {
  std::uint64_t processes = 0, threads = 0, fds = 0, bytes = 0;
  friend bool operator==(const Footprint&, const Footprint&) = default;
};

/// Of a process and all its descendants; bytes are resident, anonymous and shared memory.
inline Footprint footprint(int pid) {
  Footprint sum;
  for (const int each : process_tree(pid)) {
    const std::string proc = "/proc/" + std::to_string(each);
    std::error_code gone;
    for (auto it = std::filesystem::directory_iterator(proc + "/fd", gone);
         it != std::filesystem::directory_iterator(); it.increment(gone)) {
      ++sum.fds;
    }
    ++sum.processes;
    sum.threads += proc_field(proc + "/status", "Threads");
    sum.bytes +=
        1024 * (proc_field(proc + "/status", "RssAnon") + proc_field(proc + "/status", "RssShmem"));
  }
  return sum;
}

/// The same once it has stood still for a moment: an agent lets go of a connection's thread soon
/// after the connection's end, not before. At most a second.
inline Footprint settled_footprint(int pid) {
  Footprint last = footprint(pid);
  for (int unchanged = 0, tries = 0; unchanged < 3 && tries < 50; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const Footprint now = footprint(pid);
    unchanged = now == last ? unchanged + 1 : 0;
    last = now;
  }
  return last;
}

}  // namespace bench
