// SPDX-License-Identifier: MIT
// read_async(): who is told by a signal that a file is ready. World: user.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <mitosis/fork/user/capture/files/target.hpp>
#include <mitosis/fork/user/files/async.hpp>

namespace mitosis::capture {

/// `copy` is a duplicate of `file`. Refused where another process is told.
inline Result<files::Async> read_async(const Target& target, const OpenFile& file, int copy) {
  files::Async async;
  f_owner_ex owner = {};
  if (::fcntl(copy, F_GETOWN_EX, &owner) != 0 || owner.pid == 0) {
    if ((file.flags & O_ASYNC) == 0) return async;
    return refuse_file(file, "opened with O_ASYNC, and tells a process that cannot be seen");
  }
  if (file.member != 0) {  // the root's launcher opens it, and would have itself told
    if ((file.flags & O_ASYNC) == 0) return async;
    return refuse_file(file, "opened with O_ASYNC by a child process");
  }
  async.signal = static_cast<std::uint8_t>(::fcntl(copy, F_GETSIG));
  if (owner.type == F_OWNER_PGRP && owner.pid == ::getpgid(target.pid())) {
    async.owner = files::Owner::group;
  } else if (owner.type != F_OWNER_PGRP && owner.pid == target.pid()) {
    async.owner = owner.type == F_OWNER_TID ? files::Owner::thread : files::Owner::process;
  } else if ((file.flags & O_ASYNC) != 0) {
    return refuse_file(file, "opened with O_ASYNC, and tells another process");
  }
  return async;
}

}  // namespace mitosis::capture
