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
  return 2 * files.epolls.size() + files.locks.size();
}

namespace detail {
inline void write_entry(const LateEpoll& late, int set, ProgramWriter& program) {
  epoll_event event = {};
  event.events = late.entry.events;
  event.data.u64 = late.entry.data;
  program.op(SYS_epoll_ctl, set, EPOLL_CTL_ADD, late.entry.number, program.put_value(event));
}
}  // namespace detail

/// After them the process has the files of `files`, and `stay`: descriptors above all of them. All
/// that ops use a descriptor for comes before, except through `stay`.
inline void write_files(const Files& files, std::initializer_list<int> stay,
                        ProgramWriter& program) {
  program.step("put the open files in place");
  if (files.cwd) program.op(SYS_fchdir, files.cwd.get());  // before its number is taken
  // An epoll set knows a file by the number it had when it was added, though it has moved since.
  for (const LateEpoll& late : files.epolls) {
    if (late.entry.number == late.entry.source) continue;
    program.op(SYS_dup3, files.now(late.entry.source), late.entry.number, O_CLOEXEC);
    detail::write_entry(late, files.now(late.epoll), program);
  }
  std::vector<int> keep(stay);
  for (const PlacedFile& file : files.placed) {
    keep.push_back(file.fd);
    if (file.is_launchers()) continue;
    const int from = file.opened ? file.opened.get() : file.same_as;
    program.op(SYS_dup3, from, file.fd, file.close_on_exec ? O_CLOEXEC : 0);
  }
  std::sort(keep.begin(), keep.end());
  int next = 0;
  for (const int fd : keep) {
    if (fd > next) program.op(SYS_close_range, next, fd - 1, 0);
    next = fd + 1;
  }
  program.op(SYS_close_range, next, ~0u, 0);
  for (const LateEpoll& late : files.epolls) {
    if (late.entry.number == late.entry.source) detail::write_entry(late, late.epoll, program);
  }
  // Only now: closing any descriptor of a file gives its POSIX locks up.
  for (const LateLock& late : files.locks) {
    program.op(SYS_fcntl, late.fd, F_SETLK, program.put_value(flock_of(late.lock)));
  }
}

}  // namespace mitosis::restore
