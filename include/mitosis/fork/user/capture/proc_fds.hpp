// SPDX-License-Identifier: MIT
// OpenFile: what is behind a process's file descriptors, and which of it can be captured.
// World: user. Read while the process waits, since an offset moves with its next read.
#pragma once

#include <dirent.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <fmt/format.h>

#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mitosis::capture {

struct OpenFile {
  std::int32_t fd = -1;
  descriptor::FileKind kind = descriptor::FileKind::regular;
  std::uint32_t flags = 0;    ///< open(2)'s, O_CLOEXEC included
  std::uint64_t offset = 0;   ///< bytes
  std::int32_t same_as = -1;  ///< an earlier fd with the same open file description
  std::string path;           ///< empty for a standard stream
  dev_t device = 0;
  ino_t inode = 0;
};

/// More open files than that are refused.
inline constexpr std::size_t max_open_files = std::size_t{1} << 16;

namespace detail {

/// The numbers in /proc/PID/fd, ascending.
inline Result<std::vector<std::int32_t>> list_fds(int fd_directory) {
  std::vector<std::int32_t> numbers;
  alignas(std::uint64_t) char entries[4096];
  for (;;) {
    const long n = ::syscall(SYS_getdents64, fd_directory, entries, sizeof(entries));
    if (n < 0) return Error(Errc::system_call_failed, "getdents", errno).in("list open files");
    if (n == 0) break;
    for (long at = 0; at < n;) {
      // struct linux_dirent64: u64 inode, u64 offset, u16 length, u8 type, the name
      std::uint16_t length;
      std::memcpy(&length, entries + at + 16, sizeof(length));
      if (const auto fd = number<std::int32_t>(entries + at + 19)) numbers.push_back(*fd);
      at += length;
    }
    if (numbers.size() > max_open_files) {
      return Error(Errc::limit_exceeded, "it has more than 65536 open files");
    }
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

inline bool same_description(pid_t pid, int a, int b) noexcept {
  return ::syscall(SYS_kcmp, pid, pid, KCMP_FILE, a, b) == 0;
}

/// Terminals: /dev/tty, consoles, serial lines, pseudo-terminals.
inline bool is_terminal(const struct stat& s) noexcept {
  const unsigned device = major(s.st_rdev);
  return S_ISCHR(s.st_mode) && (device == 4 || device == 5 || (device >= 136 && device <= 143));
}

/// What it is, in the words of an error; empty for what can be reopened by its path.
inline std::string_view cannot_be_reopened(const struct stat& s, std::string_view link) noexcept {
  if (S_ISSOCK(s.st_mode)) return "a socket";
  if (S_ISFIFO(s.st_mode)) return "a pipe";
  if (S_ISBLK(s.st_mode)) return "a block device";
  if (link.starts_with("anon_inode:")) return "a kernel object";
  if (link.starts_with("/memfd:")) return "a memfd";
  if (is_terminal(s)) return "a terminal";
  // /dev/null, zero, full, random, urandom: these have no state.
  if (S_ISCHR(s.st_mode)) return major(s.st_rdev) == 1 ? "" : "a device";
  if (!S_ISREG(s.st_mode) && !S_ISDIR(s.st_mode)) return "of a kind that has no path";
  if (s.st_nlink == 0 || link.ends_with(deleted_suffix)) return "deleted";
  if (!link.starts_with('/')) return "outside of the process's file tree";
  return "";
}

inline Error refuse_file(int fd, std::string_view link, std::string_view what) {
  const std::string about = fmt::format("descriptor {} ({}) is {}", fd, link, what);
  return Error(Errc::unsupported_file, about.c_str()).in("check open files");
}

inline Result<void> read_fdinfo(int process, OpenFile& file) {
  const Result<std::vector<char>> text =
      read_at(process, fmt::format("fdinfo/{}", file.fd).c_str(), 1u << 16);
  if (!text) return text.error();
  const auto offset = number(field(view(*text), "pos"));
  const auto flags = number<std::uint32_t>(field(view(*text), "flags"), 8);
  if (!offset || !flags) return Error(Errc::unsupported_file, "its fdinfo cannot be read");
  file.offset = *offset;
  file.flags = *flags;
  if ((file.flags & O_PATH) != 0) return refuse_file(file.fd, file.path, "opened with O_PATH");
  if ((file.flags & O_ASYNC) != 0) return refuse_file(file.fd, file.path, "opened with O_ASYNC");
  // A fork does not inherit POSIX locks, so a child has no claim on them; on these it would.
  for (const char* kind : {"FLOCK ", "OFDLCK ", "LEASE "}) {
    if (view(*text).find(kind) != std::string_view::npos) {
      return refuse_file(file.fd, file.path, "locked (flock, F_OFD_SETLK or a lease)");
    }
  }
  return {};
}

/// Looks at one descriptor; `earlier` are those below it.
inline Result<OpenFile> look_at(pid_t pid, int process, int fds, std::int32_t fd,
                                std::vector<OpenFile>& earlier) {
  using descriptor::FileKind;
  OpenFile file;
  file.fd = fd;
  const std::string name = std::to_string(fd);
  struct stat s = {};
  if (::fstatat(fds, name.c_str(), &s, 0) != 0) {
    return Error(Errc::system_call_failed, "fstatat", errno).in("check open files");
  }
  Result<std::string> link = link_at(fds, name.c_str());
  if (!link) return link.error();
  file.device = s.st_dev;
  file.inode = s.st_ino;
  for (OpenFile& other : earlier) {
    if (other.inode == 0 && other.kind == FileKind::standard_stream) {
      // Standard streams are looked at only where somebody else might share them.
      struct stat stream = {};
      if (::fstatat(fds, std::to_string(other.fd).c_str(), &stream, 0) != 0) continue;
      other.device = stream.st_dev;
      other.inode = stream.st_ino;
    }
    if (other.device != file.device || other.inode != file.inode) continue;
    if (!same_description(pid, other.fd, fd)) continue;
    file.same_as = other.fd;
    file.kind = other.kind;
    file.path = other.path;
    break;
  }
  if (file.kind == FileKind::standard_stream) return file;
  if (const std::string_view what = cannot_be_reopened(s, *link); !what.empty()) {
    return refuse_file(fd, *link, what);
  }
  file.kind = S_ISREG(s.st_mode)   ? FileKind::regular
              : S_ISDIR(s.st_mode) ? FileKind::directory
                                   : FileKind::character_device;
  file.path = std::move(*link);
  if (Result<void> read = read_fdinfo(process, file); !read) return read.error();
  return file;
}

}  // namespace detail

/// All open files by ascending descriptor, without `skipped`; the first that cannot be captured is
/// refused by number, name and kind. Descriptors 0 to 2 are standard streams, whatever they are:
/// a child's are its resumer's. `process` is an open /proc/PID; the process must not run.
inline Result<std::vector<OpenFile>> open_files(pid_t pid, int process,
                                                Span<const std::int32_t> skipped) {
  Result<UniqueFd> fds = open_at(process, "fd", O_DIRECTORY);
  if (!fds) return fds.error();
  Result<std::vector<std::int32_t>> numbers = detail::list_fds(fds->get());
  if (!numbers) return numbers.error();
  std::vector<OpenFile> files;
  for (const std::int32_t fd : *numbers) {
    if (std::find(skipped.begin(), skipped.end(), fd) != skipped.end()) continue;
    if (fd <= 2) {
      OpenFile stream;
      stream.fd = fd;
      stream.kind = descriptor::FileKind::standard_stream;
      files.push_back(std::move(stream));
      continue;
    }
    Result<OpenFile> file = detail::look_at(pid, process, fds->get(), fd, files);
    if (!file) return file.error();
    files.push_back(std::move(*file));
  }
  return files;
}

}  // namespace mitosis::capture
