// SPDX-License-Identifier: MIT
// SpareContent: what small files hold, for a machine that does not have them. World: user.
// They are opened while the parent waits, since it may delete them, and read while it runs on: a
// file that is opened by its path is no part of the snapshot.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include <mitosis/fork/user/capture/files/content.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::capture {

/// Longer files are not carried: a child of a machine that lacks them is refused.
inline constexpr std::uint64_t max_spare_file = std::uint64_t{1} << 20;
inline constexpr std::uint64_t max_spare_total = std::uint64_t{4} << 20;
inline constexpr std::size_t max_spare_files = 64;

class SpareContent {
 public:
  /// Opens what may have to be carried. What the process may not read is not.
  void open(int process, const struct stat& is, OpenFile& file) {
    if (file.kind != descriptor::FileKind::regular || count_ == max_spare_files) return;
    if ((file.flags & (O_PATH | O_WRONLY)) != 0) return;
    const auto size = static_cast<std::uint64_t>(is.st_size);
    if (size > max_spare_file || size > max_spare_total - used_) return;
    const std::string name = "fd/" + std::to_string(file.number);
    constexpr int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    file.spare = UniqueFd(::openat(process, name.c_str(), flags));
    used_ += size;
    ++count_;
  }

 private:
  std::uint64_t used_ = 0;
  std::size_t count_ = 0;
};

/// A files::Regular of its locks, and of its content where that was opened; nothing where there is
/// neither.
inline std::vector<std::uint8_t> regular_payload(const OpenFile& file) {
  files::Regular regular;
  regular.locks = file.locks;
  struct stat is = {};
  if (file.spare && ::fstat(file.spare.get(), &is) == 0) {
    const auto size = static_cast<std::uint64_t>(is.st_size);
    std::uint64_t left = max_spare_file;
    auto content = read_content(file.spare.get(), size, [&left](std::uint64_t bytes) {
      if (bytes > left) return Result<void>(Error(Errc::limit_exceeded));  // it has grown
      left -= bytes;
      return Result<void>();
    });
    regular.mode = is.st_mode & 07777;
    if (content) regular.content = std::move(*content);
  }
  if (regular.locks.empty() && !regular.content) return {};
  return files::encode(regular);
}

}  // namespace mitosis::capture
