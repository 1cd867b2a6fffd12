// SPDX-License-Identifier: MIT
// KeyFile: where prepare leaves the auth key. World: user.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <string>
#include <utility>

namespace mitosis::tools {

/// Opened before anything is prepared, because a key that cannot be kept is lost; changed only once
/// there is a key, because the file may hold that of an earlier prepare. Move-only.
class KeyFile {
 public:
  /// system_call_failed, with the path.
  static Result<KeyFile> open(const std::string& path) {
    KeyFile file;
    file.fd_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    file.made_ = static_cast<bool>(file.fd_);
    if (!file.fd_ && errno == EEXIST) {
      file.fd_ = UniqueFd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    }
    if (!file.fd_)
      return Error(Errc::system_call_failed, path.c_str(), errno).in("open the key file");
    file.path_ = path;
    return file;
  }
  KeyFile(KeyFile&& other) noexcept
      : path_(std::move(other.path_)),
        fd_(std::move(other.fd_)),
        made_(std::exchange(other.made_, false)) {}
  KeyFile& operator=(KeyFile&&) = delete;
  /// A file that was made here and has got no key is removed.
  ~KeyFile() {
    if (made_) ::unlink(path_.c_str());
  }

  /// The file, if it is one and no terminal or pipe, holds this line alone, for its owner's eyes.
  Result<void> write(const std::string& line) {
    struct stat is = {};
    const bool regular = ::fstat(fd_.get(), &is) == 0 && S_ISREG(is.st_mode);
    const bool ready =
        !regular || (::fchmod(fd_.get(), 0600) == 0 && ::ftruncate(fd_.get(), 0) == 0);
    if (!ready ||
        ::write(fd_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return Error(Errc::system_call_failed, path_.c_str(), errno).in("write the key");
    }
    made_ = false;
    return {};
  }

 private:
  KeyFile() = default;
  std::string path_;
  UniqueFd fd_;
  bool made_ = false;
};

}  // namespace mitosis::tools
