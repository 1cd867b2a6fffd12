// SPDX-License-Identifier: MIT
// Mapping: a line of /proc/PID/maps, and the parser. World: user.
#pragma once

#include <sys/mman.h>

#include <mitosis/fork/user/capture/proc_text.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace mitosis::capture {

struct Mapping {
  std::uint64_t start = 0, end = 0;  ///< bytes
  std::uint64_t offset = 0;          ///< bytes
  std::uint64_t device = 0;          ///< major in the upper 32 bits, minor in the lower
  std::uint64_t inode = 0;
  std::uint32_t prot = 0;  ///< PROT_*
  bool shared = false;
  std::string_view path;    ///< as the kernel writes it, into the parsed text
  std::uint32_t marks = 0;  ///< descriptor::VmaFlag: not in the list, see marks.hpp
};

/// No process with more mappings or a longer list is captured (vm.max_map_count is 65530).
inline constexpr std::size_t max_mappings = std::size_t{1} << 20;
inline constexpr std::size_t max_maps_text = std::size_t{1} << 28;

namespace detail {

inline bool parse_mapping(std::string_view line, Mapping& to) noexcept {
  const auto start = number(take_until(line, '-'), 16);
  const auto end = number(take_until(line, ' '), 16);
  const std::string_view perms = take_until(line, ' ');
  const auto offset = number(take_until(line, ' '), 16);
  const auto major = number(take_until(line, ':'), 16);
  const auto minor = number(take_until(line, ' '), 16);
  const auto inode = number(take_until(line, ' '));
  if (!start || !end || *start >= *end || perms.size() != 4 || !offset || !inode || !major ||
      !minor) {
    return false;
  }
  to.start = *start;
  to.end = *end;
  to.offset = *offset;
  to.device = *major << 32 | *minor;
  to.inode = *inode;
  to.prot = (perms[0] == 'r' ? static_cast<std::uint32_t>(PROT_READ) : 0u) |
            (perms[1] == 'w' ? static_cast<std::uint32_t>(PROT_WRITE) : 0u) |
            (perms[2] == 'x' ? static_cast<std::uint32_t>(PROT_EXEC) : 0u);
  to.shared = perms[3] == 's';
  while (!line.empty() && line.front() == ' ') line.remove_prefix(1);
  to.path = line;
  return true;
}

}  // namespace detail

/// What the restorer leaves in a resumed child: its code, which has run. The next resume brings its
/// own.
inline constexpr std::string_view restorer_mapping = "[anon:mitosis]";

/// All mappings by ascending address, without [vsyscall], which is every process's, and without the
/// restorer's. The paths are views into `text`.
inline Result<std::vector<Mapping>> parse_maps(std::string_view text) {
  std::vector<Mapping> mappings;
  while (!text.empty()) {
    Mapping next;
    if (!detail::parse_mapping(take_until(text, '\n'), next) ||
        (!mappings.empty() && next.start < mappings.back().end)) {
      return Error(Errc::unsupported_process, "its memory map cannot be read").in("read maps");
    }
    if (next.path == "[vsyscall]" || next.path == restorer_mapping) continue;
    if (mappings.size() == max_mappings) {
      return Error(Errc::limit_exceeded, "it has more than 1048576 mappings").in("read maps");
    }
    mappings.push_back(next);
  }
  return mappings;
}

/// The path of a mapped file as open(2) takes it: the kernel writes a newline in it as "\012".
inline std::string unescape(std::string_view path) {
  std::string plain;
  plain.reserve(path.size());
  while (!path.empty()) {
    const bool newline = path.starts_with("\\012");
    plain.push_back(newline ? '\n' : path.front());
    path.remove_prefix(newline ? 4 : 1);
  }
  return plain;
}

}  // namespace mitosis::capture
