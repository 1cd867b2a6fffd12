// SPDX-License-Identifier: MIT
// NetNamespace: a network of its own, for processes that play another machine. World: user.
// It has no name and no file: it is an open descriptor, and the kernel takes it down, with its
// links, once that and all processes inside are gone. So nothing is left by a crash either.
#pragma once

#include <fcntl.h>
#include <sched.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <string>

namespace mitosis::testbed {

namespace detail {
inline UniqueFd this_network() noexcept {
  return UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
}
}  // namespace detail

/// Owns a network namespace. Needs CAP_SYS_ADMIN to make and to enter.
class NetNamespace {
 public:
  /// A new one; the calling thread stays where it is.
  static Result<NetNamespace> create() {
    const UniqueFd home = detail::this_network();
    if (!home) return failure("open /proc/thread-self/ns/net");
    if (::unshare(CLONE_NEWNET) != 0) return failure("unshare(CLONE_NEWNET)");
    NetNamespace made(detail::this_network());
    if (::setns(home.get(), CLONE_NEWNET) != 0) return failure("setns");
    if (!made.fd_) return failure("open /proc/thread-self/ns/net");
    return made;
  }

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  explicit NetNamespace(UniqueFd fd) noexcept : fd_(std::move(fd)) {}
  static Error failure(const char* what) {
    const Errc code = errno == EPERM ? Errc::missing_privilege : Errc::system_call_failed;
    std::string about = what;
    if (errno == EPERM) about += " needs CAP_SYS_ADMIN";
    return Error(code, about.c_str(), errno).in("make a network namespace");
  }
  UniqueFd fd_;
};

/// While it lives the calling thread is inside; it must end on the same thread.
class Inside {
 public:
  explicit Inside(const NetNamespace& there) noexcept : home_(detail::this_network()) {
    if (home_) entered_ = ::setns(there.fd(), CLONE_NEWNET) == 0;
  }
  ~Inside() {
    if (entered_) (void)::setns(home_.get(), CLONE_NEWNET);
  }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  [[nodiscard]] bool ok() const noexcept { return entered_; }

 private:
  UniqueFd home_;
  bool entered_ = false;
};

}  // namespace mitosis::testbed
