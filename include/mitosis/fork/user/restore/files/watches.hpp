// SPDX-License-Identifier: MIT
// open_epoll(), open_inotify(): files that watch others. World: user.
#pragma once

#include <sys/epoll.h>
#include <sys/inotify.h>

#include <mitosis/fork/user/files/watches.hpp>
#include <mitosis/fork/user/restore/files/opening.hpp>

namespace mitosis::restore {

/// An empty set; its entries are made under the final numbers, by which they are known.
inline Result<UniqueFd> open_epoll(Opening& opening, const descriptor::FileRecord& file) {
  const auto set = payload_of<files::Epoll>(opening, file);
  if (!set) return set.error();
  UniqueFd fd(::epoll_create1(EPOLL_CLOEXEC));
  if (!fd) return cannot_make(file, "an epoll set", errno);
  for (const files::EpollEntry& entry : set->entries) {
    if (entry.number < 0 || entry.number > descriptor::max_fd || entry.source < 0) {
      return bad_payload(file, "an entry's number");
    }
    opening.epolls.push_back({file.fd, entry});
  }
  return fd;
}

/// Watches get their numbers in turn, so those that the program has removed are made, too.
inline Result<UniqueFd> open_inotify(Opening& opening, const descriptor::FileRecord& file) {
  const auto inotify = payload_of<files::Inotify>(opening, file);
  if (!inotify) return inotify.error();
  UniqueFd fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!fd) return cannot_make(file, "an inotify instance", errno);
  constexpr std::int32_t most = 1 << 20;
  for (const files::InotifyWatch& watch : inotify->watches) {
    if (watch.wd <= 0 || watch.wd > most) return bad_payload(file, "a watch's number");
    int wd = 0;
    while (wd != watch.wd) {
      wd = ::inotify_add_watch(fd.get(), watch.path.c_str(), watch.mask | IN_DONT_FOLLOW);
      if (wd < 0) return cannot_make(file, watch.path.c_str(), errno);
      if (wd > watch.wd) return cannot_make(file, (watch.path + " is watched twice").c_str(), 0);
      if (wd < watch.wd && ::inotify_rm_watch(fd.get(), wd) != 0) {
        return cannot_make(file, "inotify_rm_watch", errno);
      }
    }
  }
  // Each removal has left an event; nothing else is in there yet that the program is to see.
  char events[4096];
  while (::read(fd.get(), events, sizeof events) > 0) {
  }
  if (Result<void> set = set_flags(fd.get(), file); !set) return set.error();
  return fd;
}

}  // namespace mitosis::restore
