// SPDX-License-Identifier: MIT
// OpenFile: what is behind one of a process's file descriptors. World: user.
#pragma once

#include <sys/types.h>

#include <fmt/format.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/files/content.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mitosis::capture {

/// Move-only.
struct OpenFile {
  std::int32_t fd = -1;      ///< its number in the descriptor
  std::int32_t number = -1;  ///< in the process that has it: of a tree's members another
  std::uint32_t member = 0;  ///< whose it is, of a tree; the first that has it
  descriptor::FileKind kind = descriptor::FileKind::regular;
  std::uint32_t flags = 0;    ///< open(2)'s, O_CLOEXEC included
  std::uint64_t offset = 0;   ///< bytes
  std::int32_t same_as = -1;  ///< an earlier fd with the same open file description
  std::string path;           ///< what /proc/PID/fd shows; empty for a standard stream
  dev_t device = 0;
  ino_t inode = 0;
  std::int32_t shared = -1;        ///< which of the process's shared objects it is; -1: none
  UniqueFd spare;                  ///< of a small file that can be read: opened anew
  std::vector<files::Lock> locks;  ///< of a file with content
  std::string info;                ///< fdinfo, of what has state there
  std::vector<std::uint8_t> data;  ///< its payload
};

/// unsupported_file: "descriptor 5 (socket:[77]) is ...".
inline Error refuse_file(int fd, std::string_view link, std::string_view what) {
  const std::string about = fmt::format("descriptor {} ({}) is {}", fd, link, what);
  return Error(Errc::unsupported_file, about.c_str()).in("check open files");
}
inline Error refuse_file(const OpenFile& file, std::string_view what) {
  return refuse_file(file.number, file.path, what);
}

}  // namespace mitosis::capture
