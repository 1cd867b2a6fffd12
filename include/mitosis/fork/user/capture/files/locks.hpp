// SPDX-License-Identifier: MIT
// read_locks(): the locks that a process holds by a descriptor, of its fdinfo. World: user.
#pragma once

#include <mitosis/fork/user/capture/files/open_file.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

namespace mitosis::capture {

namespace detail {
/// "1: POSIX  ADVISORY  WRITE 4711 fd:01:1234 0 EOF", as in /proc/locks. Refused: leases,
/// mandatory.
inline Result<files::Lock> parse_lock(const OpenFile& file, std::string_view line) {
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

/// `info` is its fdinfo.
inline Result<void> read_locks(std::string_view info, OpenFile& file) {
  while (!info.empty()) {
    std::string_view line = take_until(info, '\n');
    if (!line.starts_with("lock:\t")) continue;
    line.remove_prefix(6);
    const Result<files::Lock> lock = detail::parse_lock(file, line);
    if (!lock) return lock.error();
    file.locks.push_back(*lock);
  }
  return {};
}

}  // namespace mitosis::capture
