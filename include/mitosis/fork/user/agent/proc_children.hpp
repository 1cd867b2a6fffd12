// SPDX-License-Identifier: MIT
// children_of(): the processes that a process has made, as /proc tells. World: user.
#pragma once

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/stat_fields.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// When a process started, in clock ticks since boot; 0 where it is gone.
inline std::uint64_t start_of(std::uint32_t pid) {
  const auto process = capture::open_process(static_cast<pid_t>(pid));
  const auto stat = process ? capture::read_at(process->get(), "stat", 4096) : process.error();
  if (!stat) return 0;
  const auto field = capture::StatFields::split(capture::view(*stat));
  return field ? field->number_at(22) : 0;
}

/// The child processes that a process's threads have made, in the order of their making.
inline std::vector<std::uint32_t> children_of(std::uint32_t pid) {
  std::vector<std::uint32_t> children;
  std::size_t makers = 0;
  std::error_code gone;
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    std::ifstream list(task.path() / "children");
    const std::size_t before = children.size();
    for (std::uint32_t child = 0; list >> child;) children.push_back(child);
    if (children.size() != before) ++makers;
  }
  if (makers < 2) return children;  // the kernel lists those of one thread in order
  std::vector<std::pair<std::uint64_t, std::uint32_t>> by_start;
  by_start.reserve(children.size());
  for (const std::uint32_t child : children) by_start.emplace_back(start_of(child), child);
  std::sort(by_start.begin(), by_start.end());
  for (std::size_t i = 0; i < children.size(); ++i) children[i] = by_start[i].second;
  return children;
}

}  // namespace mitosis::agent
