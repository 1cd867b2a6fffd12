// SPDX-License-Identifier: MIT
// Forked: a function that runs in a process of its own. World: user.
// It never outlives its starter: the kernel kills it with the starting thread, and the destructor
// ends it in order.
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace bench {

/// Owns the process. The function's return value is the exit status; it should make system calls
/// and little else, as after any fork.
class Forked {
 public:
  template <class F>
  explicit Forked(F&& function) {
    const int starter = ::getpid();
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(::getppid() == starter ? std::forward<F>(function)() : 127);
  }
  Forked(const Forked&) = delete;
  Forked& operator=(const Forked&) = delete;
  ~Forked() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  [[nodiscard]] bool ok() const noexcept { return pid_ > 0; }
  [[nodiscard]] int pid() const noexcept { return pid_; }

 private:
  int pid_ = -1;
};

}  // namespace bench
