// SPDX-License-Identifier: MIT
// Opened: every file that the restore needs, opened while a missing one can be reported.
// World: user.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <mitosis/fork/user/restore/files.hpp>
#include <mitosis/fork/user/restore/mapped_files.hpp>
#include <mitosis/fork/user/restore/member.hpp>

#include <cerrno>
#include <utility>

namespace mitosis::restore {

struct Opened {
  Files files;
  MappedFiles mapped;
  UniqueFd exe;     ///< none where it is missing: then the child's /proc/PID/exe is the launcher's
  UniqueFd uffd;    ///< stays open in the child: without a copy, a dead pager's pages read as zeros
  UniqueFd socket;  ///< the agent's, above the child's numbers
};

/// Opens with the caller's identity. `userfaultfd` is /dev/userfaultfd, `socket` the agent's.
/// What comes back has no features yet: the agent enables them, since that takes privilege.
/// `shared` as of open_files(); `member`: of a tree, and not its root; or null.
inline Result<Opened> open_all(const DescriptorView& view, int userfaultfd, int socket,
                               Span<UniqueFd> shared, const Member* member = nullptr) {
  const FdRoom room(view, member == nullptr ? 3 : FdRoom(member->root).first());
  Opened opened;
  auto files =
      member == nullptr ? open_files(view, room, shared) : inherit_files(view, room, *member);
  if (!files) return files.error();
  opened.files = std::move(*files);
  auto mapped = MappedFiles::open(view);
  if (!mapped) return mapped.error();
  opened.mapped = std::move(*mapped);
  opened.exe = UniqueFd(::open(view.string(view.mm().exe), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  const UniqueFd low(::ioctl(userfaultfd, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK));
  if (!low) {
    return Error(Errc::system_call_failed, "USERFAULTFD_IOC_NEW", errno).in("open a userfaultfd");
  }
  auto uffd = room.copy_high(low.get(), "the userfaultfd");
  if (!uffd) return uffd.error();
  opened.uffd = std::move(*uffd);
  auto high = room.copy_high(socket, "the agent's socket");
  if (!high) return high.error();
  opened.socket = std::move(*high);
  return opened;
}

}  // namespace mitosis::restore
