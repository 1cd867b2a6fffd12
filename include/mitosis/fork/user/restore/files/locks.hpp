// SPDX-License-Identifier: MIT
// take_locks(): the parent's locks, for the child. World: user.
// On another machine the file is another one, as a rule; where it is the same (a shared filesystem)
// its holder keeps the lock, and the resume is refused.
#pragma once

#include <sys/file.h>

#include <mitosis/fork/user/restore/files/opening.hpp>

namespace mitosis::restore {

inline struct flock flock_of(const files::Lock& lock) noexcept {
  struct flock range = {};
  range.l_type = lock.write ? F_WRLCK : F_RDLCK;
  range.l_whence = SEEK_SET;
  range.l_start = static_cast<off_t>(lock.start);
  range.l_len = static_cast<off_t>(lock.bytes);
  return range;
}

/// Locks `fd`, just opened. A POSIX lock would go with the launcher's other descriptors of the
/// file: it is only asked for here, and taken when they are closed.
inline Result<void> take_locks(Opening& opening, const descriptor::FileRecord& file, int fd,
                               const std::vector<files::Lock>& locks) {
  const auto held = [&](int err) {
    const std::string what =
        std::string(opening.view.string(file.path)) + " is locked by somebody else here";
    return cannot_make(file, what.c_str(), err);
  };
  for (const files::Lock& lock : locks) {
    constexpr std::uint64_t longest = ~std::uint64_t{0} >> 1;
    if (lock.start > longest || lock.bytes > longest - lock.start) {
      return bad_payload(file, "a lock past the largest file");
    }
    struct flock range = flock_of(lock);
    if (lock.kind == files::LockKind::flock) {
      if (::flock(fd, (lock.write ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) return held(errno);
    } else if (lock.kind == files::LockKind::open_file) {
      if (::fcntl(fd, F_OFD_SETLK, &range) != 0) return held(errno);
    } else {
      if (::fcntl(fd, F_GETLK, &range) != 0) return held(errno);
      if (range.l_type != F_UNLCK) return held(EAGAIN);
      opening.locks.push_back({file.fd, lock});
    }
  }
  return {};
}

}  // namespace mitosis::restore
