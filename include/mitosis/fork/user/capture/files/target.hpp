// SPDX-License-Identifier: MIT
// Target: the stopped process whose open files are looked at, or a tree of them. World: user.
#pragma once

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/capture/files/dropped.hpp>
#include <mitosis/fork/user/capture/files/open_file.hpp>
#include <mitosis/fork/user/capture/files/unix_diag.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::capture {

/// Does not own `process`, an open /proc/PID; of a tree there are several, the root first. None of
/// them must run meanwhile. Looks at one of them at a time.
class Target {
 public:
  Target(pid_t pid, int process) { add(pid, process); }
  /// The next member of the tree.
  void add(pid_t pid, int process) { members_.push_back({pid, process, {}}); }
  /// Whose the files are that are looked at from now on; at first the root's.
  void turn_to(std::uint32_t member) noexcept { now_ = member; }

  [[nodiscard]] std::uint32_t member() const noexcept { return now_; }
  [[nodiscard]] pid_t pid() const noexcept { return members_[now_].pid; }
  [[nodiscard]] int process() const noexcept { return members_[now_].process; }
  [[nodiscard]] int process_of(const OpenFile& file) const noexcept {
    return members_[file.member].process;
  }
  /// What cannot be captured is left out from now on, and told there; null: it is refused.
  void drop_into(Dropped* dropped) noexcept { dropped_ = dropped; }
  /// Leaves the file out for `why` (of it, or null), if that is allowed.
  bool drops(OpenFile& file, const Error& why) const {
    if (dropped_ == nullptr || !can_be_dropped(why)) return false;
    drop(process_of(file), file, why, *dropped_);
    if (file.member != 0) {  // that it is the root's goes without saying
      dropped_->back().insert(0, "process " + std::to_string(members_[file.member].pid) + ": ");
    }
    return true;
  }

  [[nodiscard]] bool is_tree() const noexcept { return members_.size() > 1; }

  /// The same open file description, here. What is done by it is done to the process: only look.
  Result<UniqueFd> duplicate(const OpenFile& file) {
    Member& owner = members_[file.member];
    if (!owner.pidfd) {
      owner.pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, owner.pid, 0)));
    }
    UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, owner.pidfd.get(), file.number, 0)));
    if (!copy) return Error(Errc::system_call_failed, "pidfd_getfd", errno).in("check open files");
    return copy;
  }
  /// The same file, opened anew for reading: it has an offset of its own. What the process itself
  /// could not read is refused.
  Result<UniqueFd> reopen(const OpenFile& file, const struct stat& is) {
    struct stat owner = {};
    if ((file.flags & O_ACCMODE) == O_WRONLY &&
        (::fstat(process(), &owner) != 0 || (owner.st_uid != 0 && owner.st_uid != is.st_uid))) {
      return refuse_file(file, "open for writing only, and another user's: its content is closed");
    }
    const std::string name = "fd/" + std::to_string(file.number);
    UniqueFd fd(::openat(process(), name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) return Error(Errc::system_call_failed, file.path.c_str(), errno).in("read open files");
    return fd;
  }
  /// Whether two descriptors are of one open file description.
  [[nodiscard]] bool same(const OpenFile& a, const OpenFile& b) const noexcept {
    return ::syscall(SYS_kcmp, members_[a.member].pid, members_[b.member].pid, KCMP_FILE, a.number,
                     b.number) == 0;
  }
  /// Whether the `nth` entry that an epoll set has for `number` is that file.
  [[nodiscard]] bool watches(const OpenFile& set, int number, std::uint32_t nth,
                             const OpenFile& file) const noexcept {
    kcmp_epoll_slot slot = {static_cast<std::uint32_t>(set.number),
                            static_cast<std::uint32_t>(number), nth};
    return ::syscall(SYS_kcmp, members_[file.member].pid, members_[set.member].pid, KCMP_EPOLL_TFD,
                     file.number, &slot) == 0;
  }
  /// Takes from what may be carried of all its files. limit_exceeded.
  Result<void> carry(std::uint64_t bytes) noexcept {
    if (bytes > room_) {
      return Error(Errc::limit_exceeded,
                   "its deleted files, memfds, pipes and sockets hold more "
                   "than 16 MiB")
          .in("check open files");
    }
    room_ -= bytes;
    return {};
  }
  /// What the kernel tells of its unix sockets.
  Result<UnixSocketInfo> unix_socket(ino_t inode) {
    if (!diag_.is_open()) {
      if (Result<void> opened = diag_.open(process()); !opened) return opened.error();
    }
    return diag_.ask(static_cast<std::uint32_t>(inode));
  }

 private:
  struct Member {
    pid_t pid;
    int process;
    UniqueFd pidfd;
  };
  std::vector<Member> members_;
  std::uint32_t now_ = 0;
  UnixDiag diag_;
  std::uint64_t room_ = files::max_content;
  Dropped* dropped_ = nullptr;
};

}  // namespace mitosis::capture
