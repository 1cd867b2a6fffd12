// SPDX-License-Identifier: MIT
// read_locks(): the locks that a process holds by a descriptor, of its fdinfo. World: user.
#pragma once

#include <mitosis/fork/user/capture/files/open_file.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

namespace mitosis::capture {

/// POSIX locks belong to a process.
struct LockOwner {
  pid_t pid = 0;         ///< of a tree's member: whose fdinfo it is; 0: there is no tree
  bool borrows = false;  ///< and an earlier member has the same open file description
};

namespace detail {
/// "1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 0 EOF", as in /proc/locks. Refused: leases,
/// mandatory.
inline Result<files::Lock> parse_lock(const OpenFile& file, std::string_view line,
                                      const LockOwner& owner) {
  std::string_view words[8];
  for (std::string_view& word : words) {
    while (line.starts_with(' ')) line.remove_prefix(1);
    word = take_until(line, ' ');
  }
  files::Lock lock;
  if (words[1] == "FLOCK") {
    lock.kind = files::LockKind::flock;
  } else if (words[1] == "OFDLCK") {
    lock.kind = files::LockKind::open_file;
  } else if (words[1] == "POSIX") {
    lock.kind = files::LockKind::posix;
    const bool by_it = number<pid_t>(words[4]) == owner.pid;
    if (owner.pid != 0 && by_it == owner.borrows) {
      return refuse_file(file, fmt::format("locked (fcntl) by process {} of its tree, which has it "
                                           "from another one",
                                           words[4]));
    }
  } else {
    return refuse_file(file, fmt::format("locked by a {}", words[1]));
  }
  lock.write = words[3] == "WRITE";
  const auto start = number(words[6]);
  const auto last = number(words[7]);
  if ((!lock.write && words[3] != "READ") || !start || (!last && words[7] != "EOF")) {
    return refuse_file(file, "locked in a way that fdinfo does not tell");
  }
  lock.start = *start;
  lock.bytes = last ? *last - *start + 1 : 0;
  return lock;
}
}  // namespace detail

/// `info` is its fdinfo. Of a tree only such POSIX locks are taken along as the first member that
/// has the description holds; others are refused.
inline Result<void> read_locks(std::string_view info, OpenFile& file, const LockOwner& owner = {}) {
  while (!info.empty()) {
    std::string_view line = take_until(info, '\n');
    if (!line.starts_with("lock:\t")) continue;
    line.remove_prefix(6);
    const Result<files::Lock> lock = detail::parse_lock(file, line, owner);
    if (!lock) return lock.error();
    file.locks.push_back(*lock);
  }
  return {};
}

}  // namespace mitosis::capture
