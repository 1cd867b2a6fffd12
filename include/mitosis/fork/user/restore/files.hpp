// SPDX-License-Identifier: MIT
// Files: what the child will have open, opened by the launcher ahead of time. World: user.
#pragma once

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <mitosis/fork/user/restore/fd_room.hpp>
#include <mitosis/fork/user/restore/file_range.hpp>
#include <mitosis/fork/user/restore/files/content.hpp>
#include <mitosis/fork/user/restore/files/counters.hpp>
#include <mitosis/fork/user/restore/files/inet_socket.hpp>
#include <mitosis/fork/user/restore/files/pipe.hpp>
#include <mitosis/fork/user/restore/files/streams.hpp>
#include <mitosis/fork/user/restore/files/unix_socket.hpp>
#include <mitosis/fork/user/restore/files/watches.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::restore {

/// One descriptor number of the child. At most one of `opened`, `same_as` and `from` is set; none:
/// the launcher's own descriptor of that number stays.
struct PlacedFile {
  int fd = -1;
  UniqueFd opened;
  int same_as = -1;  ///< an earlier number with the same open file description
  int from = -1;     ///< the launcher's descriptor of it, which its tree's root has opened
  bool close_on_exec = false;
  [[nodiscard]] bool is_launchers() const noexcept { return !opened && same_as < 0 && from < 0; }
};

/// An entry of an epoll set whose file has another number by now, or whose set is another's.
struct MovedEpoll {
  std::int32_t epoll = -1;    ///< the set's number in the descriptor
  int set = -1, source = -1;  ///< both of the launcher
  files::EpollEntry entry;
};

/// The child's descriptors, ascending, its working directory, and what is done under their numbers.
struct Files {
  std::vector<PlacedFile> placed;
  FileRange own;  ///< those that the child has; the others are its tree's
  UniqueFd cwd;   ///< none: the descriptor names none, the launcher's stays
  std::vector<LateEpoll> epolls;
  std::vector<MovedEpoll> moved;
  std::vector<LateLock> locks;
  std::vector<LateSeal> seals;
  MadePaths made;

  /// Where a descriptor of the child's is until the numbers are taken; -1 for none of the child's.
  [[nodiscard]] int now(std::int32_t fd) const noexcept {
    const auto at = std::lower_bound(placed.begin(), placed.end(), fd,
                                     [](const PlacedFile& file, int n) { return file.fd < n; });
    if (at == placed.end() || at->fd != fd) return -1;
    if (at->opened) return at->opened.get();
    return at->same_as >= 0 ? now(at->same_as) : fd;
  }
};

namespace detail {

struct Opener {
  descriptor::FileKind kind;
  Result<UniqueFd> (*open)(Opening& opening, const descriptor::FileRecord& file);
};
inline constexpr Opener openers[] = {
    {descriptor::FileKind::regular, open_by_path},
    {descriptor::FileKind::directory, open_by_path},
    {descriptor::FileKind::character_device, open_by_path},
    {descriptor::FileKind::pipe, open_pipe},
    {descriptor::FileKind::eventfd, open_eventfd},
    {descriptor::FileKind::timerfd, open_timerfd},
    {descriptor::FileKind::signalfd, open_signalfd},
    {descriptor::FileKind::inotify, open_inotify},
    {descriptor::FileKind::epoll, open_epoll},
    {descriptor::FileKind::memory, open_memory},
    {descriptor::FileKind::unix_socket, open_unix_socket},
    {descriptor::FileKind::inet_socket, open_inet_socket},
    {descriptor::FileKind::terminal, open_terminal},
    {descriptor::FileKind::dropped, open_dropped},
};

inline Result<UniqueFd> open_one(Opening& opening, const FdRoom& room,
                                 const descriptor::FileRecord& record) {
  for (const Opener& opener : openers) {
    if (opener.kind != descriptor::FileKind{record.kind}) continue;
    auto opened = opener.open(opening, record);
    if (!opened) return opened.error();
    auto raised = room.raise(std::move(*opened), opening.view.string(record.path));
    for (LateConnect& late : opening.connects) {
      if (raised && late.fd == record.fd) late.socket = raised->get();
    }
    return raised;
  }
  return bad_payload(record, "of a kind that is not opened");
}

/// The entries that an epoll set can have here: the resumer's standard streams may be files, which
/// no set watches; they are left out.
inline Result<void> check_epolls(const DescriptorView& view, std::vector<LateEpoll>& epolls,
                                 Files& files) {
  const UniqueFd trial(epolls.empty() ? -1 : ::epoll_create1(EPOLL_CLOEXEC));
  for (const LateEpoll& late : epolls) {
    descriptor::FileRecord set = {};
    set.fd = late.epoll;
    const int source = files.now(late.entry.source);
    const bool moved = late.entry.source != late.entry.number;
    if (source < 0 || (moved && late.entry.number <= STDERR_FILENO)) {
      return bad_payload(set, "an entry's file");
    }
    epoll_event event = {};
    const bool can = ::epoll_ctl(trial.get(), EPOLL_CTL_ADD, source, &event) == 0 ||
                     errno == EEXIST || errno == ELOOP;
    const int err = errno;
    if (can && !moved && files.own.has(late.epoll)) {
      files.epolls.push_back(late);
      continue;
    }
    if (can) {
      const int set_now = files.now(late.epoll);
      files.moved.push_back({late.epoll, set_now, source, late.entry});
      continue;
    }
    bool resumers = false;
    for (const descriptor::FileRecord& file : view.files()) {
      const auto kind = descriptor::FileKind{file.kind};
      resumers |= file.fd == late.entry.source && (kind == descriptor::FileKind::standard_stream ||
                                                   kind == descriptor::FileKind::terminal);
    }
    if (!resumers) return cannot_make(set, "an epoll set with its entries", err);
  }
  return {};
}

inline Result<void> open_cwd(const DescriptorView& view, Files& files) {
  const char* const cwd = view.string(view.mm().cwd);
  if (*cwd == '\0') return {};
  files.cwd = UniqueFd(::open(cwd, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (files.cwd) return {};
  return Error(Errc::file_missing, cwd, errno).in("open the working directory");
}

}  // namespace detail

/// Opens everything with the caller's identity, above the child's numbers; of a tree's root what
/// all of the tree have. `shared` are the child's shared objects; one may have to be mapped by
/// another descriptor than it was offered with.
inline Result<Files> open_files(const DescriptorView& view, const FdRoom& room,
                                Span<UniqueFd> shared = {}) {
  Files files;
  files.own = files_of(view, 0);
  Opening opening(view, shared);
  files.placed.reserve(view.files().size());
  for (const descriptor::FileRecord& record : view.files()) {
    PlacedFile file;
    file.fd = record.fd;
    file.close_on_exec = (record.flags & O_CLOEXEC) != 0;
    if (record.fd <= STDERR_FILENO &&
        descriptor::FileKind{record.kind} == descriptor::FileKind::standard_stream) {
      // The launcher's own, even where the parent had two of them share a description.
    } else if (record.same_as >= 0) {
      file.same_as = record.same_as;
    } else {
      auto opened = detail::open_one(opening, room, record);
      if (!opened) return opened.error();
      file.opened = std::move(*opened);
    }
    files.placed.push_back(std::move(file));
  }
  auto seals = finish_memories(opening);
  if (!seals) return seals.error();
  files.seals = std::move(*seals);
  if (Result<void> ok = finish_connects(opening); !ok) return ok.error();
  if (Result<void> ok = detail::check_epolls(view, opening.epolls, files); !ok) return ok.error();
  files.locks = std::move(opening.locks);
  files.made = std::move(opening.made);
  if (Result<void> ok = detail::open_cwd(view, files); !ok) return ok.error();
  return files;
}

}  // namespace mitosis::restore
