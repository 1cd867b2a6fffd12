// SPDX-License-Identifier: MIT
// MappedFile: the file behind a mapping, as far as a resumer must recognise it. World: user.
#pragma once

#include <sys/stat.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_maps.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace mitosis::capture {

struct MappedFile {
  std::uint64_t size = 0;  ///< bytes
  std::uint64_t mtime_ns = 0;
  std::uint64_t inode = 0;
};

/// Looks files up through a process's root directory; remembers them, since a library has several
/// mappings. One thread.
class MappedFiles {
 public:
  explicit MappedFiles(int process) noexcept : process_(process) {}

  /// The file that is mapped, not one that has taken its name since; none where it cannot be
  /// reached any more (then no local file can be shown to be the same).
  std::optional<MappedFile> find(const Mapping& m) {
    const auto key = std::make_pair(std::string(m.path), m.inode);
    const auto known = known_.find(key);
    if (known != known_.end()) return known->second;
    return known_[key] = look_up(m);
  }

 private:
  [[nodiscard]] std::optional<MappedFile> look_up(const Mapping& m) const {
    struct stat s = {};
    const std::string by_name = "root" + unescape(m.path);
    if (::fstatat(process_, by_name.c_str(), &s, 0) != 0 || s.st_ino != m.inode) {
      // By the mapping itself: exact, but it needs CAP_CHECKPOINT_RESTORE.
      const std::string by_range = fmt::format("map_files/{:x}-{:x}", m.start, m.end);
      if (::fstatat(process_, by_range.c_str(), &s, 0) != 0) return std::nullopt;
    }
    if (!S_ISREG(s.st_mode)) return std::nullopt;
    return MappedFile{static_cast<std::uint64_t>(s.st_size),
                      static_cast<std::uint64_t>(s.st_mtim.tv_sec) * 1'000'000'000u +
                          static_cast<std::uint64_t>(s.st_mtim.tv_nsec),
                      s.st_ino};
  }

  int process_;
  std::map<std::pair<std::string, std::uint64_t>, std::optional<MappedFile>> known_;
};

}  // namespace mitosis::capture
