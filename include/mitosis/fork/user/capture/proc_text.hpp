// SPDX-License-Identifier: MIT
// Reading and taking apart the text of /proc, bounded. World: user.
// The text is the kernel's, but names in it are the captured program's: nothing is trusted to be
// short, and a parser never reads past its text.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mitosis::capture {

/// Opens `name` in the directory `dir`, read-only.
inline Result<UniqueFd> open_at(int dir, const char* name, int flags = 0) noexcept {
  UniqueFd fd(::openat(dir, name, O_RDONLY | O_CLOEXEC | flags));
  if (!fd) return Error(Errc::system_call_failed, name, errno).in("read /proc");
  return fd;
}

/// /proc/PID, to open the process's files in.
inline Result<UniqueFd> open_process(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid);
  UniqueFd fd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error(Errc::unsupported_process, "it has exited", errno).in("read /proc");
  return fd;
}

/// The whole of a file, at most `limit` bytes (more is limit_exceeded).
inline Result<std::vector<char>> read_at(int dir, const char* name, std::size_t limit) {
  Result<UniqueFd> fd = open_at(dir, name);
  if (!fd) return fd.error();
  std::vector<char> text(4096);
  std::size_t used = 0;
  for (;;) {
    if (used == text.size()) text.resize(text.size() * 2);
    const ssize_t n = ::read(fd->get(), text.data() + used, text.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error(Errc::system_call_failed, name, errno).in("read /proc");
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
    if (used > limit) return Error(Errc::limit_exceeded, name).in("read /proc");
  }
  text.resize(used);
  return text;
}

inline std::string_view view(const std::vector<char>& text) noexcept {
  return {text.data(), text.size()};
}

/// Where a symbolic link of /proc points to.
inline Result<std::string> link_at(int dir, const char* name) {
  char target[4096];
  const ssize_t n = ::readlinkat(dir, name, target, sizeof(target));
  if (n < 0) return Error(Errc::system_call_failed, name, errno).in("read /proc");
  if (n == static_cast<ssize_t>(sizeof(target))) {
    return Error(Errc::limit_exceeded, "a path of 4096 bytes or more").in("read /proc");
  }
  return std::string(target, static_cast<std::size_t>(n));
}

/// Splits off what comes before the first `end`; all of it where there is none.
inline std::string_view take_until(std::string_view& text, char end) noexcept {
  const std::size_t at = text.find(end);
  const std::string_view head = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
  return head;
}

/// All of `text` as a number, or none.
template <class T = std::uint64_t>
std::optional<T> number(std::string_view text, int base = 10) noexcept {
  T value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return value;
}

/// The value of the line "key:\tvalue", without the blanks around it; empty where there is none.
inline std::string_view field(std::string_view text, std::string_view key) noexcept {
  while (!text.empty()) {
    std::string_view line = take_until(text, '\n');
    if (line.size() <= key.size() || !line.starts_with(key) || line[key.size()] != ':') continue;
    line.remove_prefix(key.size() + 1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
    return line;
  }
  return {};
}

inline constexpr std::string_view deleted_suffix = " (deleted)";

}  // namespace mitosis::capture
