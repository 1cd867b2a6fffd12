// SPDX-License-Identifier: MIT
// The ops that put the child's open files in place and close all else. World: user.
#pragma once

#include <fcntl.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>

#include <algorithm>
#include <initializer_list>
#include <vector>

namespace mitosis::restore {

/// After them the process has the files of `files`, and `stay`: descriptors above all of them. All
/// that ops use a descriptor for comes before, except through `stay`.
inline void write_files(const Files& files, std::initializer_list<int> stay,
                        ProgramWriter& program) {
  program.step("put the open files in place");
  if (files.cwd) program.op(SYS_fchdir, files.cwd.get());  // before its number is taken
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
}

}  // namespace mitosis::restore
