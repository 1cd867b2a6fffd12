// SPDX-License-Identifier: MIT
// tell_kind(): what a descriptor is, by its stat(2) and its link in /proc. World: user.
#pragma once

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <mitosis/fork/user/capture/files/open_file.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

#include <string_view>

namespace mitosis::capture {

/// Terminals: /dev/tty, consoles, serial lines, pseudo-terminals.
inline bool is_terminal(const struct stat& s) noexcept {
  const unsigned device = major(s.st_rdev);
  return S_ISCHR(s.st_mode) && (device == 4 || device == 5 || (device >= 136 && device <= 143));
}

/// The kind of a kernel object, or none for those that cannot be rebuilt.
inline std::optional<descriptor::FileKind> kind_of_object(std::string_view link) noexcept {
  using descriptor::FileKind;
  if (link == "anon_inode:[eventfd]") return FileKind::eventfd;
  if (link == "anon_inode:[timerfd]") return FileKind::timerfd;
  if (link == "anon_inode:[signalfd]") return FileKind::signalfd;
  if (link == "anon_inode:[eventpoll]") return FileKind::epoll;
  if (link == "anon_inode:inotify") return FileKind::inotify;
  return std::nullopt;
}

/// The kind, or a refusal that says what it is. A socket's is told by its family later.
inline Result<descriptor::FileKind> tell_kind(int fd, const struct stat& s, std::string_view link) {
  using descriptor::FileKind;
  if (S_ISSOCK(s.st_mode)) return FileKind::unix_socket;
  if (S_ISFIFO(s.st_mode)) return FileKind::pipe;
  if (S_ISBLK(s.st_mode)) return refuse_file(fd, link, "a block device");
  if (link.starts_with("anon_inode:")) {
    if (const auto kind = kind_of_object(link)) return *kind;
    return refuse_file(fd, link, "a kernel object that cannot be rebuilt");
  }
  const bool deleted = s.st_nlink == 0 || link.ends_with(deleted_suffix);
  if (S_ISREG(s.st_mode) && deleted) return FileKind::memory;
  if (is_terminal(s)) {
    constexpr unsigned ptmx_major = 5, ptmx_minor = 2;
    if (s.st_rdev == makedev(ptmx_major, ptmx_minor)) {
      return refuse_file(fd, link, "the master of a pseudo-terminal");
    }
    return FileKind::terminal;
  }
  // /dev/null, zero, full, random, urandom: these have no state.
  if (S_ISCHR(s.st_mode) && major(s.st_rdev) != 1) return refuse_file(fd, link, "a device");
  if (!S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode) && !S_ISCHR(s.st_mode)) {
    return refuse_file(fd, link, "of a kind that has no path");
  }
  if (deleted) return refuse_file(fd, link, "deleted");
  if (!link.starts_with('/')) return refuse_file(fd, link, "outside of the process's file tree");
  return S_ISREG(s.st_mode)   ? FileKind::regular
         : S_ISDIR(s.st_mode) ? FileKind::directory
                              : FileKind::character_device;
}

}  // namespace mitosis::capture
