// SPDX-License-Identifier: MIT
// Inotify and Epoll: files that watch others. World: user.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mitosis::files {

struct InotifyWatch {
  std::int32_t wd = 0;     ///< the program knows it by this number
  std::uint32_t mask = 0;  ///< inotify_add_watch(2)'s
  std::string path;        ///< absolute
  template <class A>
  void fields(A& a) {
    a(wd, mask, path);
  }
};
struct Inotify {
  std::vector<InotifyWatch> watches;  ///< ascending by wd
  template <class A>
  void fields(A& a) {
    a(watches);
  }
};

/// The kernel keys an entry by the file and the number that it had when it was added; the file may
/// have moved to another number since.
struct EpollEntry {
  std::int32_t number = -1;  ///< as added
  std::int32_t source = -1;  ///< a descriptor of the record list that is this file
  std::uint32_t events = 0;
  std::uint64_t data = 0;
  template <class A>
  void fields(A& a) {
    a(number, source, events, data);
  }
};
struct Epoll {
  std::vector<EpollEntry> entries;
  template <class A>
  void fields(A& a) {
    a(entries);
  }
};

}  // namespace mitosis::files
