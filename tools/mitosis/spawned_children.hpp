// SPDX-License-Identifier: MIT
// SpawnedChildren: children that the agent made for us, from the request to their ends. World:
// user.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/client/children.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

namespace mitosis::tools {

/// One that was made; `status` is as of waitpid(2), nothing while it runs.
struct SpawnedChild {
  int pid = 0;
  UniqueFd pidfd;
  std::optional<int> status;

  /// As a shell tells it; 1 where it is not known.
  [[nodiscard]] int exit_status() const noexcept {
    if (!status) return 1;
    return WIFSIGNALED(*status) ? 128 + WTERMSIG(*status) : WEXITSTATUS(*status);
  }
};

/// One request's children. Blocks the signals that it passes on, from its start to its end.
class SpawnedChildren {
 public:
  /// `sd` is a connection of client::connections(), which stays the caller's.
  explicit SpawnedChildren(int sd) noexcept : sd_(sd) {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGQUIT, SIGHUP}) sigaddset(&set, number);
    ::pthread_sigmask(SIG_BLOCK, &set, &old_mask_);
    signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }
  ~SpawnedChildren() { ::pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr); }
  SpawnedChildren(const SpawnedChildren&) = delete;
  SpawnedChildren& operator=(const SpawnedChildren&) = delete;

  /// All of them, with our standard descriptors if `share_stdio`, or an error and none.
  Result<void> make(const local::Spawn& request, bool share_stdio) {
    const int stdio[3] = {0, 1, 2};
    auto made =
        client::spawn(sd_, request, share_stdio ? Span<const int>(stdio) : Span<const int>());
    if (!made) return made.error();
    for (client::SpawnedChild& child : *made) {
      children_.push_back({child.pid, std::move(child.pidfd), std::nullopt});
    }
    return {};
  }

  /// Returns once all have ended, passing signals on meanwhile. An error: the agent went, so that
  /// they have ended with a status that nobody knows.
  Result<void> wait() {
    while (running()) {
      const auto ended = client::wait_child(sd_, std::chrono::milliseconds(0));
      if (!ended) {
        for (const SpawnedChild& child : children_) {
          if (!child.status) wait_for(child.pidfd.get());
        }
        return Error(ended.code(), "how the children ended is not known").in("wait for them");
      }
      if (!ended->has_value()) {
        sleep_until(sd_);
        continue;
      }
      for (SpawnedChild& child : children_) {
        if (child.pid == (*ended)->pid && !child.status) child.status = (*ended)->status;
      }
    }
    return {};
  }

  [[nodiscard]] const std::vector<SpawnedChild>& all() const noexcept { return children_; }

 private:
  [[nodiscard]] bool running() const {
    return std::any_of(children_.begin(), children_.end(),
                       [](const SpawnedChild& child) { return !child.status; });
  }
  /// Waits until `fd` may be readable, and passes on the signals that come; false: it is not yet.
  bool sleep_until(int fd) {
    pollfd ready[2] = {{fd, POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (::poll(ready, 2, -1) <= 0) return false;
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) == ssize_t{sizeof info}) {
      for (const SpawnedChild& child : children_) {
        if (child.status) continue;
        ::syscall(SYS_pidfd_send_signal, child.pidfd.get(), static_cast<int>(info.ssi_signo),
                  nullptr, 0);
      }
    }
    return ready[0].revents != 0;
  }
  void wait_for(int pidfd) {
    while (!sleep_until(pidfd)) {
    }
  }

  const int sd_;
  UniqueFd signals_;
  sigset_t old_mask_ = {};
  std::vector<SpawnedChild> children_;
};

}  // namespace mitosis::tools
