// SPDX-License-Identifier: MIT
// read_filters: the seccomp filters of a held thread. World: user.
// Source: ptrace(2), PTRACE_SECCOMP_GET_FILTER and PTRACE_SECCOMP_GET_METADATA: for a tracer with
// CAP_SYS_ADMIN that is under no filter itself.
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/fork/user/capture/trace/traced_thread.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mitosis::capture {

namespace detail {

inline constexpr int ptrace_seccomp_get_filter = 0x420c, ptrace_seccomp_get_metadata = 0x420d;
struct SeccompMetadata {
  std::uint64_t filter, flags;
};

inline Error refuse_seccomp(const TracedThread& thread, const std::string& why) {
  const std::string about = fmt::format("its thread {} runs under seccomp {}", thread.tid(), why);
  return Error(Errc::unsupported_process, about.c_str()).in("read its seccomp filters");
}

/// 0: none, 1: strict, 2: filters. Where the kernel does not let us ask by ptrace.
inline std::uint64_t seccomp_mode(const TracedThread& thread, int tasks) {
  const auto status =
      read_at(tasks, fmt::format("{}/status", thread.tid()).c_str(), std::size_t{1} << 20);
  return status ? number(field(view(*status), "Seccomp")).value_or(0) : 0;
}

/// Its supervisor would not be there in a child.
inline bool asks_a_supervisor(const std::vector<std::uint64_t>& code) noexcept {
  constexpr std::uint32_t user_notification = 0x7fc00000u;  // SECCOMP_RET_USER_NOTIF
  return std::any_of(code.begin(), code.end(), [](std::uint64_t instruction) {
    return (instruction & 0xffff) == (BPF_RET | BPF_K) &&
           (instruction >> 32 & SECCOMP_RET_ACTION_FULL) == user_notification;
  });
}

}  // namespace detail

/// The oldest first, as they are to be installed. `tasks` is /proc/PID/task. Refuses, by name, what
/// a child could not have.
inline Result<std::vector<SeccompFilter>> read_filters(const TracedThread& thread, int tasks) {
  std::vector<SeccompFilter> filters;
  for (;;) {
    const auto nth = filters.size();
    const long length = thread.ask(detail::ptrace_seccomp_get_filter, nth, nullptr);
    if (length < 0 && errno == ENOENT) return filters;
    if (length < 0) {
      const int err = errno;
      if (err == EINVAL) return filters;  // in no such mode; the strict one would show in /proc
      const std::uint64_t mode = detail::seccomp_mode(thread, tasks);
      if (mode == 0) return filters;
      if (mode == 1) return detail::refuse_seccomp(thread, "(strict mode)");
      return detail::refuse_seccomp(
          thread, fmt::format("(mode 2), whose filters only root can read: {}", strerror(err)));
    }
    SeccompFilter filter;
    filter.code.resize(static_cast<std::size_t>(length));
    detail::SeccompMetadata about = {nth, 0};
    if (thread.ask(detail::ptrace_seccomp_get_filter, nth, filter.code.data()) != length ||
        thread.ask(detail::ptrace_seccomp_get_metadata, sizeof about, &about) < 0) {
      return Error(Errc::system_call_failed, "PTRACE_SECCOMP_GET_FILTER", errno).in("trace");
    }
    filter.flags = static_cast<std::uint32_t>(about.flags);
    if (detail::asks_a_supervisor(filter.code)) {
      return detail::refuse_seccomp(thread, "and asks another process about its system calls");
    }
    filters.push_back(std::move(filter));
  }
}

}  // namespace mitosis::capture
