// SPDX-License-Identifier: MIT
// lifeline_for(): where the shadow of a captured process reports to, and as whom. World: user.
#pragma once

#include <sys/random.h>
#include <sys/stat.h>

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/trace/shadow_ops.hpp>
#include <mitosis/fork/user/local/connect.hpp>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace mitosis::agent {

namespace detail {

/// Where the shadow reports to; refused where the process cannot see the agent's socket.
inline Result<capture::Lifeline> lifeline_for(pid_t pid, const std::string& socket) {
  char path[PATH_MAX];
  struct stat ours = {}, theirs = {};
  if (::realpath(socket.c_str(), path) == nullptr || ::stat(path, &ours) != 0) {
    return Error(Errc::system_call_failed, socket.c_str(), errno).in("check the process");
  }
  const std::string seen = "/proc/" + std::to_string(pid) + "/root" + path;
  if (::stat(seen.c_str(), &theirs) != 0 || theirs.st_ino != ours.st_ino ||
      theirs.st_dev != ours.st_dev) {
    const std::string about = "its file tree has no " + std::string(path) + ": mount it there";
    return Error(Errc::unsupported_process, about.c_str()).in("check the process");
  }
  const auto address = local::detail::socket_address(path);
  if (!address) return address.error();
  capture::Lifeline lifeline;
  lifeline.agent = *address;
  if (::getrandom(&lifeline.nonce, sizeof lifeline.nonce, 0) != ssize_t{sizeof lifeline.nonce}) {
    return Error(Errc::system_call_failed, "getrandom", errno).in("check the process");
  }
  return lifeline;
}

/// Its real user: whom the kernel will name as the sender of its shadow's report.
inline Result<std::uint32_t> user_of(pid_t pid) {
  const auto process = capture::open_process(pid);
  if (!process) return process.error();
  const auto status = capture::read_at(process->get(), "status", 1u << 20);
  if (!status) return status.error();
  std::string_view ids = capture::field(capture::view(*status), "Uid");
  const auto uid = capture::number<std::uint32_t>(capture::take_until(ids, '\t'));
  if (!uid) return Error(Errc::unsupported_process, "it has no user").in("check the process");
  return *uid;
}

}  // namespace detail

}  // namespace mitosis::agent
