// SPDX-License-Identifier: MIT
// open_file(): reopens one of the parent's open files. World: user.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cerrno>

namespace mitosis::restore {

/// The flags of open(2) that do something to a file rather than to its description.
inline constexpr int flags_of_creation = O_CREAT | O_EXCL | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
/// The flags that open(2) is better not given: O_ASYNC does nothing there, O_CLOEXEC is always on.
inline constexpr int flags_set_later = O_ASYNC | O_CLOEXEC;

namespace detail {
inline Error cannot_open(const descriptor::FileRecord& file, const char* path, const char* why,
                         int err) noexcept {
  Error error(Errc::file_missing, "descriptor ", err);
  descriptor::append_number(error.subject, static_cast<std::uint64_t>(file.fd));
  error.subject.append(": ").append(path).append(why);
  return error.in("reopen files");
}
inline bool same_kind(descriptor::FileKind kind, mode_t mode) noexcept {
  switch (kind) {
    case descriptor::FileKind::regular:
      return S_ISREG(mode);
    case descriptor::FileKind::directory:
      return S_ISDIR(mode);
    case descriptor::FileKind::character_device:
      return S_ISCHR(mode);
    default:
      break;  // of no path
  }
  return false;
}
}  // namespace detail

/// The file of this path here, at the parent's offset and with its flags, with the caller's
/// identity; close-on-exec. Never creates, truncates or waits. file_missing names path and number.
inline Result<UniqueFd> open_file(const descriptor::FileRecord& file, const char* path) noexcept {
  const int flags = static_cast<int>(file.flags) & ~flags_of_creation & ~flags_set_later;
  // O_NONBLOCK: the path may be a FIFO here, and opening one waits for its other end.
  UniqueFd fd(::open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  if (!fd) return detail::cannot_open(file, path, "", errno);
  struct stat is = {};
  const auto kind = descriptor::FileKind{file.kind};
  if (::fstat(fd.get(), &is) != 0 || !detail::same_kind(kind, is.st_mode)) {
    return detail::cannot_open(file, path, " is of another kind here", 0);
  }
  if ((flags & O_PATH) != 0) return fd;
  if ((flags & O_NONBLOCK) == 0 && ::fcntl(fd.get(), F_SETFL, flags) != 0) {
    return detail::cannot_open(file, path, " does not take its flags", errno);
  }
  // A directory's offset means something to its own filesystem only, a device's often nothing.
  if (::lseek(fd.get(), static_cast<off_t>(file.offset), SEEK_SET) < 0 &&
      kind == descriptor::FileKind::regular) {
    return detail::cannot_open(file, path, " cannot be positioned", errno);
  }
  return fd;
}

}  // namespace mitosis::restore
