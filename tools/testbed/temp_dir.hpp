// SPDX-License-Identifier: MIT
// TempDir: a directory of its own that goes with its owner; and what dead owners left. World: user.
#pragma once

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>

#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace mitosis::testbed {

/// Owns /tmp/<prefix>-<pid>-XXXXXX, mode 0700. Always below /tmp: a unix socket's path holds 107
/// bytes, and $TMPDIR may be longer.
class TempDir {
 public:
  static Result<TempDir> create(const std::string& prefix) {
    std::string path = "/tmp/" + prefix + "-" + std::to_string(::getpid()) + "-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) {
      return Error(Errc::system_call_failed, path.c_str(), errno).in("make a directory");
    }
    return TempDir(std::move(path));
  }
  TempDir(TempDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TempDir& operator=(TempDir&& other) noexcept {
    if (this != &other) {
      remove();
      path_ = std::exchange(other.path_, {});
    }
    return *this;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { remove(); }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit TempDir(std::string path) noexcept : path_(std::move(path)) {}
  void remove() noexcept {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  std::string path_;
};

/// Removes this user's directories of that prefix whose process is gone (killed before it could).
/// Returns how many.
inline int remove_leftovers(const std::string& prefix) {
  namespace fs = std::filesystem;
  const std::string start = prefix + "-";
  int removed = 0;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/tmp", error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(start)) continue;
    int pid = 0;
    const char* end = name.data() + name.size();
    const auto [rest, bad] = std::from_chars(name.data() + start.size(), end, pid);
    if (bad != std::errc{} || rest == end || *rest != '-' || pid <= 0) continue;
    if (::kill(pid, 0) == 0 || errno != ESRCH) continue;
    struct stat owner = {};
    if (::lstat(entry.path().c_str(), &owner) != 0 || owner.st_uid != ::geteuid()) continue;
    std::error_code failed;
    if (fs::remove_all(entry.path(), failed) > 0 && !failed) ++removed;
  }
  return removed;
}

}  // namespace mitosis::testbed
