// SPDX-License-Identifier: MIT
// open_files(): what is behind a process's file descriptors, and which of it can be captured.
// World: user. Read while the process waits, since an offset moves with its next read.
#pragma once

#include <sys/stat.h>
#include <sys/syscall.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/capture/files/content.hpp>
#include <mitosis/fork/user/capture/files/counters.hpp>
#include <mitosis/fork/user/capture/files/epoll.hpp>
#include <mitosis/fork/user/capture/files/inotify.hpp>
#include <mitosis/fork/user/capture/files/kind.hpp>
#include <mitosis/fork/user/capture/files/locks.hpp>
#include <mitosis/fork/user/capture/files/pipe.hpp>
#include <mitosis/fork/user/capture/files/socket.hpp>
#include <mitosis/fork/user/capture/files/spare_content.hpp>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace mitosis::capture {

/// More open files than that are refused.
inline constexpr std::size_t max_open_files = std::size_t{1} << 16;
/// An epoll set's fdinfo has a line for each file that it watches.
inline constexpr std::size_t max_fdinfo = std::size_t{16} << 20;

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

/// Kinds that keep something besides their record, and what reads it.
struct PayloadKind {
  descriptor::FileKind kind;
  Result<void> (*read)(Target& target, const std::vector<OpenFile>& all, OpenFile& file);
};
inline constexpr PayloadKind payload_kinds[] = {
    {descriptor::FileKind::pipe, read_pipe},       {descriptor::FileKind::eventfd, read_eventfd},
    {descriptor::FileKind::timerfd, read_timerfd}, {descriptor::FileKind::signalfd, read_signalfd},
    {descriptor::FileKind::inotify, read_inotify}, {descriptor::FileKind::epoll, read_epoll},
    {descriptor::FileKind::memory, read_memory},   {descriptor::FileKind::unix_socket, read_socket},
};
inline const PayloadKind* payload_kind(descriptor::FileKind kind) noexcept {
  for (const PayloadKind& known : payload_kinds) {
    if (known.kind == kind) return &known;
  }
  return nullptr;
}

/// Kinds whose payload says who gets SIGIO.
inline bool tells_async(descriptor::FileKind kind) noexcept {
  return kind == descriptor::FileKind::pipe || kind == descriptor::FileKind::unix_socket;
}

/// Flags and offset, locks, and the text where the kind has state in it.
inline Result<void> read_fdinfo(const Target& target, OpenFile& file) {
  const Result<std::vector<char>> text =
      read_at(target.process(), fmt::format("fdinfo/{}", file.number).c_str(), max_fdinfo);
  if (!text) return text.error();
  const auto offset = number(field(view(*text), "pos"));
  const auto flags = number<std::uint32_t>(field(view(*text), "flags"), 8);
  if (!offset || !flags) return Error(Errc::unsupported_file, "its fdinfo cannot be read");
  file.offset = *offset;
  file.flags = *flags;
  const bool has_payload = payload_kind(file.kind) != nullptr;
  if (has_payload && (file.flags & O_PATH) != 0) return refuse_file(file, "opened with O_PATH");
  LockOwner owner;
  if (target.is_tree()) owner = {target.pid(), file.member != target.member()};
  if (Result<void> locks = read_locks(view(*text), file, owner); !locks)
    return locks;  // leases set O_ASYNC
  if ((file.flags & O_ASYNC) != 0 && !tells_async(file.kind)) {
    return refuse_file(file, "opened with O_ASYNC");
  }
  if (has_payload) file.info.assign(text->begin(), text->end());
  return {};
}

/// The earlier descriptor of the same open file description, or null.
inline const OpenFile* find_same(const Target& target, const OpenFile& file,
                                 std::vector<OpenFile>& earlier) {
  for (OpenFile& other : earlier) {
    if (other.inode == 0 && other.kind == descriptor::FileKind::standard_stream) {
      // Standard streams are looked at only where somebody else might share them.
      struct stat stream = {};
      const std::string name = "fd/" + std::to_string(other.number);
      if (::fstatat(target.process_of(other), name.c_str(), &stream, 0) != 0) continue;
      other.device = stream.st_dev;
      other.inode = stream.st_ino;
    }
    if (other.device != file.device || other.inode != file.inode || other.same_as >= 0) continue;
    if (target.same(other, file)) return &other;
  }
  return nullptr;
}

/// Looks at one descriptor of the target's present member; `earlier` are those below it, and
/// those of earlier members.
inline Result<void> look_at(const Target& target, int fds, std::vector<OpenFile>& earlier,
                            SpareContent& spare, OpenFile& file) {
  const std::int32_t fd = file.number;
  const std::string name = std::to_string(fd);
  struct stat s = {};
  if (::fstatat(fds, name.c_str(), &s, 0) != 0) {
    return Error(Errc::system_call_failed, "fstatat", errno).in("check open files");
  }
  Result<std::string> link = link_at(fds, name.c_str());
  if (!link) return link.error();
  file.device = s.st_dev;
  file.inode = s.st_ino;
  file.path = std::move(*link);
  if (const OpenFile* same = find_same(target, file, earlier); same != nullptr) {
    file.same_as = same->fd;
    file.member = same->member;
    file.kind = same->kind;
    file.path = same->path;
    if (file.kind == descriptor::FileKind::standard_stream) return {};
  } else {
    const Result<descriptor::FileKind> kind = tell_kind(fd, s, file.path);
    if (!kind) return kind.error();
    file.kind = *kind;
  }
  if (Result<void> read = read_fdinfo(target, file); !read) return read.error();
  if (file.same_as < 0) spare.open(target.process(), s, file);
  return {};
}
/// The same, or that it is left out.
inline Result<OpenFile> look_at(const Target& target, int fds, std::int32_t fd,
                                std::vector<OpenFile>& earlier, SpareContent& spare) {
  OpenFile file;
  file.fd = file.number = fd;
  file.member = target.member();
  const Result<void> seen = look_at(target, fds, earlier, spare, file);
  if (seen) return file;
  file.member = target.member();
  if (!target.drops(file, seen.error())) return seen.error();
  return file;
}

/// A process's descriptors, as its /proc lists them.
struct Descriptors {
  UniqueFd directory;
  std::vector<std::int32_t> numbers;  ///< ascending

  static Result<Descriptors> of(int process) {
    Result<UniqueFd> directory = open_at(process, "fd", O_DIRECTORY);
    if (!directory) return directory.error();
    Result<std::vector<std::int32_t>> numbers = list_fds(directory->get());
    if (!numbers) return numbers.error();
    return Descriptors{std::move(*directory), std::move(*numbers)};
  }
};

/// The files of a process that is alone, or a tree's root; not yet their payloads.
inline Result<std::vector<OpenFile>> look_at_all(const Target& target, const Descriptors& fds,
                                                 Span<const std::int32_t> skipped,
                                                 SpareContent& spare) {
  std::vector<OpenFile> all;
  for (const std::int32_t fd : fds.numbers) {
    if (std::find(skipped.begin(), skipped.end(), fd) != skipped.end()) continue;
    if (fd <= 2) {
      OpenFile stream;
      stream.fd = stream.number = fd;
      stream.kind = descriptor::FileKind::standard_stream;
      all.push_back(std::move(stream));
      continue;
    }
    Result<OpenFile> file = look_at(target, fds.directory.get(), fd, all, spare);
    if (!file) return file.error();
    all.push_back(std::move(*file));
  }
  return all;
}

/// Now that all are known: what a file has to do with the others.
inline Result<void> read_payload(Target& target, std::vector<OpenFile>& all, OpenFile& file) {
  const PayloadKind* const known = payload_kind(file.kind);
  if (known == nullptr || file.same_as >= 0) return {};
  target.turn_to(file.member);
  const Result<void> read = known->read(target, all, file);
  file.info.clear();
  if (read) return {};
  if (!target.drops(file, read.error())) return read;
  for (OpenFile& other : all) {
    if (other.same_as == file.fd) other.kind = file.kind;
  }
  return {};
}

}  // namespace detail

/// All open files by ascending descriptor, without `skipped`; the first that cannot be captured is
/// refused by number, name and kind, or left out where the target allows that. Descriptors 0 to 2
/// are standard streams, whatever they are: a child's are its resumer's. The process must not run.
/// What has content of its own (FileKind::memory) waits for read_memories().
inline Result<std::vector<OpenFile>> open_files(Target& target, Span<const std::int32_t> skipped) {
  const Result<detail::Descriptors> fds = detail::Descriptors::of(target.process());
  if (!fds) return fds.error();
  SpareContent spare;
  Result<std::vector<OpenFile>> all = detail::look_at_all(target, *fds, skipped, spare);
  if (!all) return all;
  for (OpenFile& file : *all) {
    if (file.kind == descriptor::FileKind::memory) continue;
    if (Result<void> read = detail::read_payload(target, *all, file); !read) return read.error();
  }
  return all;
}

}  // namespace mitosis::capture
