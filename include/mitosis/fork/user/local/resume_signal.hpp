// SPDX-License-Identifier: MIT
// The resume signal: how a program that was prepared from outside learns in a child that it is one.
// World: user.
// It has said which real-time signal that is by a mapping of a memfd, whose name shows in its
// memory map. In a child the main thread has that signal pending, before it goes on.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace mitosis::local {

/// Of the memfd; the signal's number follows.
inline constexpr char resume_signal_name[] = "mitosis-resume-";
/// si_errno of the signal: no other sender has a reason for it.
inline constexpr std::int32_t resume_signal_errno = 0x6d69746f;
/// Where siginfo_t has its fields on Linux, for a signal that a process has queued.
inline constexpr std::size_t siginfo_errno_at = 4, siginfo_code_at = 8, siginfo_pid_at = 16,
                             siginfo_value_at = 24;

/// The signal that a mapping of this path tells of ("/memfd:mitosis-resume-40 (deleted)"), or 0.
inline std::uint32_t resume_signal_of(std::string_view path) noexcept {
  constexpr std::string_view start = "/memfd:mitosis-resume-";
  if (!path.starts_with(start)) return 0;
  std::uint32_t number = 0;
  for (const char c : path.substr(start.size())) {
    if (c < '0' || c > '9' || number > 64) break;
    number = number * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return number >= 34 && number <= 64 ? number : 0;  // glibc has the first two for itself
}

/// Whether a queued signal's siginfo_t is the resume signal's.
inline bool is_resume_signal(const std::uint8_t* info) noexcept {
  std::int32_t error = 0;
  std::memcpy(&error, info + siginfo_errno_at, sizeof error);
  return error == resume_signal_errno;
}

}  // namespace mitosis::local
