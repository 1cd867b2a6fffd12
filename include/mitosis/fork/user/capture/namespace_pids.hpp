// SPDX-License-Identifier: MIT
// namespace_pids(): a process's numbers in the pid namespaces that it is in. World: user.
#pragma once

#include <mitosis/fork/user/capture/proc_text.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace mitosis::capture {

/// From the caller's own namespace inwards to the process's (proc(5), NSpid); a zombie has them
/// too. `process`: its open /proc/PID. Empty where there is no such line.
inline Result<std::vector<std::uint64_t>> namespace_pids_of(int process) {
  const Result<std::vector<char>> status = read_at(process, "status", 1u << 20);
  if (!status) return status.error();
  std::vector<std::uint64_t> pids;
  std::string_view left = field(view(*status), "NSpid");
  while (!left.empty()) pids.push_back(number(take_until(left, '\t')).value_or(0));
  return pids;
}
inline Result<std::vector<std::uint64_t>> namespace_pids(pid_t pid) {
  const Result<UniqueFd> process = open_process(pid);
  if (!process) return process.error();
  return namespace_pids_of(process->get());
}

}  // namespace mitosis::capture
