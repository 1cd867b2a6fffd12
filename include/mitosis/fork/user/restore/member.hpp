// SPDX-License-Identifier: MIT
// Member: a process of a tree, as its launcher knows it. World: user.
// The root's launcher opens the files and has the shared memory of all; the launchers of the others
// are forked from it, and find both among their own descriptors.
#pragma once

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::restore {

/// Owns nothing.
struct Member {
  std::uint32_t index = 0;
  const DescriptorView& root;
  const Files& files;                   ///< the root's
  const std::vector<UniqueFd>& shared;  ///< the objects of the whole tree
};

/// A member's files, all of which its root's launcher has opened. Its epoll sets and locks are made
/// by it: both know files by the numbers of a process.
inline Result<Files> inherit_files(const DescriptorView& view, const FdRoom& room,
                                   const Member& member) {
  Files files;
  const FileRange whose = files_of(member.root, member.index);
  for (const MovedEpoll& moved : member.files.moved) {
    if (whose.has(moved.epoll)) files.moved.push_back({0, moved.set, moved.source, moved.entry});
  }
  for (const descriptor::FileRecord& record : view.files()) {
    if (descriptor::FileKind{record.kind} != descriptor::FileKind::inherited) {
      return bad_payload(record, "of a tree's member, but not its root's");
    }
    const auto number = static_cast<std::int32_t>(record.offset);
    PlacedFile file;
    file.fd = record.fd;
    file.close_on_exec = (record.flags & O_CLOEXEC) != 0;
    file.from = member.files.now(number);
    if (file.from < 0) return bad_payload(record, "its root has not opened it");
    if (file.from <= STDERR_FILENO) {  // what is placed first must not hide what comes later
      auto raised =
          room.raise(UniqueFd(::fcntl(file.from, F_DUPFD_CLOEXEC, 3)), "a standard stream");
      if (!raised || !*raised) return cannot_make(record, "a standard stream", errno);
      file.opened = std::move(*raised);
    }
    for (const LateLock& late : member.files.locks) {
      if (late.fd == number && whose.has(number)) files.locks.push_back({record.fd, late.lock});
    }
    files.placed.push_back(std::move(file));
  }
  if (Result<void> ok = detail::open_cwd(view, files); !ok) return ok.error();
  return files;
}

}  // namespace mitosis::restore
