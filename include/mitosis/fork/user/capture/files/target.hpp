// SPDX-License-Identifier: MIT
// Target: the stopped process whose open files are looked at. World: user.
#pragma once

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/capture/files/open_file.hpp>
#include <mitosis/fork/user/capture/files/unix_diag.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

#include <cerrno>
#include <cstdint>
#include <string>

namespace mitosis::capture {

/// Does not own `process`, an open /proc/PID. The process must not run meanwhile.
class Target {
 public:
  Target(pid_t pid, int process) noexcept : pid_(pid), process_(process) {}

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] int process() const noexcept { return process_; }

  /// The same open file description, here. What is done by it is done to the process: only look.
  Result<UniqueFd> duplicate(const OpenFile& file) {
    if (!pidfd_) pidfd_ = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
    UniqueFd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd_.get(), file.fd, 0)));
    if (!copy) return Error(Errc::system_call_failed, "pidfd_getfd", errno).in("check open files");
    return copy;
  }
  /// The same file, opened anew for reading: it has an offset of its own. What the process itself
  /// could not read is refused.
  Result<UniqueFd> reopen(const OpenFile& file, const struct stat& is) {
    struct stat owner = {};
    if ((file.flags & O_ACCMODE) == O_WRONLY &&
        (::fstat(process_, &owner) != 0 || (owner.st_uid != 0 && owner.st_uid != is.st_uid))) {
      return refuse_file(file, "open for writing only, and another user's: its content is closed");
    }
    const std::string name = "fd/" + std::to_string(file.fd);
    UniqueFd fd(::openat(process_, name.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!fd) return Error(Errc::system_call_failed, file.path.c_str(), errno).in("read open files");
    return fd;
  }
  /// Whether two of its descriptors are of one open file description.
  [[nodiscard]] bool same(int a, int b) const noexcept {
    return ::syscall(SYS_kcmp, pid_, pid_, KCMP_FILE, a, b) == 0;
  }
  /// Whether the `nth` entry that the epoll set `epoll` has for `number` is the file of `fd`.
  [[nodiscard]] bool watches(int epoll, int number, std::uint32_t nth, int fd) const noexcept {
    kcmp_epoll_slot slot = {static_cast<std::uint32_t>(epoll), static_cast<std::uint32_t>(number),
                            nth};
    return ::syscall(SYS_kcmp, pid_, pid_, KCMP_EPOLL_TFD, fd, &slot) == 0;
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
      if (Result<void> opened = diag_.open(process_); !opened) return opened.error();
    }
    return diag_.ask(static_cast<std::uint32_t>(inode));
  }

 private:
  pid_t pid_;
  int process_;
  UniqueFd pidfd_;
  UnixDiag diag_;
  std::uint64_t room_ = files::max_content;
};

}  // namespace mitosis::capture
