// SPDX-License-Identifier: MIT
// The ops that put the child's open files in place and close all else. World: user.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>

#include <algorithm>
#include <initializer_list>
#include <vector>

namespace mitosis::restore {

/// How much more than two ops a file `write_files` needs.
inline std::size_t late_ops(const Files& files) noexcept {
  return files.epolls.size() + 2 * files.moved.size() + files.locks.size() + files.seals.size();
}

namespace detail {
inline void write_entry(const files::EpollEntry& entry, int set, ProgramWriter& program) {
  epoll_event event = {};
  event.events = entry.events;
  event.data.u64 = entry.data;
  program.op(SYS_epoll_ctl, set, EPOLL_CTL_ADD, entry.number, program.put_value(event));
}
}  // namespace detail

/// After them the process has the files of `files`, and `stay`: descriptors above all of them. All
/// that ops use a descriptor for comes before, except through `stay`.
inline void write_files(const Files& files, std::initializer_list<int> stay,
                        ProgramWriter& program) {
  program.step("put the open files in place");
  if (files.cwd) program.op(SYS_fchdir, files.cwd.get());  // before its number is taken
  // An epoll set knows a file by the number it had when it was added, though it has moved since.
  for (const MovedEpoll& moved : files.moved) {
    if (!files.own.has(moved.epoll)) continue;
    program.op(SYS_dup3, moved.source, moved.entry.number, O_CLOEXEC);
    detail::write_entry(moved.entry, moved.set, program);
  }
  std::vector<int> keep(stay);
  for (const PlacedFile& file : files.placed) {
    if (!files.own.has(file.fd)) continue;
    keep.push_back(file.fd);
    if (file.is_launchers()) continue;
    const int given = file.from >= 0 ? file.from : file.same_as;
    const int from = file.opened ? file.opened.get() : given;
    program.op(SYS_dup3, from, file.fd, file.close_on_exec ? O_CLOEXEC : 0);
  }
  std::sort(keep.begin(), keep.end());
  int next = 0;
  for (const int fd : keep) {
    if (fd > next) program.op(SYS_close_range, next, fd - 1, 0);
    next = fd + 1;
  }
  program.op(SYS_close_range, next, ~0u, 0);
  for (const LateEpoll& late : files.epolls) detail::write_entry(late.entry, late.epoll, program);
  // Only now: closing any descriptor of a file gives its POSIX locks up.
  for (const LateLock& late : files.locks) {
    if (!files.own.has(late.fd)) continue;
    program.op(SYS_fcntl, late.fd, F_SETLK, program.put_value(flock_of(late.lock)));
  }
}

}  // namespace mitosis::restore
