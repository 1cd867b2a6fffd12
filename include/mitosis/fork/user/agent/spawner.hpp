// SPDX-License-Identifier: MIT
// Spawner: the worker's side of the keeper, which makes and reaps children for it. World: user.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/orders.hpp>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

namespace mitosis::agent {

/// Thread-safe. One thread of its own reads the keeper's notices.
class Spawner {
 public:
  /// Called once with the child's wait(2) status, on the spawner's thread; must not block.
  using OnExit = std::function<void(int pid, int status)>;
  struct Process {
    int pid = 0;
    UniqueFd pidfd;
  };
  static constexpr std::chrono::seconds order_deadline{10};

  /// `epoch` differs from one worker to the next, so that a notice meant for a dead worker is never
  /// taken for one of ours.
  Spawner(int orders, std::uint32_t epoch)
      : orders_(orders),
        last_ticket_(std::uint64_t{epoch} << 32),
        stop_(::eventfd(0, EFD_CLOEXEC)),
        reader_([this] { read_notices(); }) {}
  ~Spawner() {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    reader_.join();
  }
  Spawner(const Spawner&) = delete;
  Spawner& operator=(const Spawner&) = delete;

  /// Has the keeper fork one process; waits until it exists. `order.ticket` is set here.
  Result<Process> spawn(SpawnOrder order, OnExit on_exit) {
    std::unique_lock lock(mutex_);
    order.ticket = ++last_ticket_;
    Waiting& waiting = waiting_[order.ticket];
    waiting.on_exit = std::move(on_exit);
    lock.unlock();
    const bool sent = ::send(orders_, &order, sizeof order, MSG_NOSIGNAL) == ssize_t{sizeof order};
    const int send_errno = errno;
    lock.lock();
    if (!sent || !changed_.wait_for(lock, order_deadline, [&] { return waiting.answered; })) {
      waiting_.erase(order.ticket);
      return Error(sent ? Errc::timed_out : Errc::system_call_failed, "the agent's keeper",
                   sent ? 0 : send_errno)
          .in("fork a child");
    }
    if (waiting.pid <= 0) {
      const int failed = waiting.status;
      const std::string step = std::move(waiting.step);
      waiting_.erase(order.ticket);
      const bool privilege = failed == EPERM && order.namespaces.any();
      return Error(privilege ? Errc::missing_privilege : Errc::system_call_failed, step.c_str(),
                   failed)
          .in("fork a child");
    }
    Process process{waiting.pid, std::move(waiting.pidfd)};
    if (waiting.exited) {  // it was quicker than we
      auto callback = std::move(waiting.on_exit);
      const int status = waiting.status;
      waiting_.erase(order.ticket);
      lock.unlock();
      if (callback) callback(process.pid, status);
    } else {
      waiting.told = true;
    }
    return process;
  }

 private:
  struct Waiting {
    bool answered = false, exited = false, told = false;
    int pid = 0, status = 0;
    std::string step;
    UniqueFd pidfd;
    OnExit on_exit;
  };

  void read_notices() {
    while (true) {
      pollfd fds[2] = {{orders_, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
      if (fds[1].revents != 0) return;
      SpawnNotice notice;
      const ssize_t n = ::recv(orders_, &notice, sizeof notice, MSG_DONTWAIT);
      if (n == 0) return;  // the keeper is gone; SIGTERM is on its way
      if (n == ssize_t{sizeof notice}) take(notice);
    }
  }

  void take(const SpawnNotice& notice) {
    std::unique_lock lock(mutex_);
    const auto it = waiting_.find(notice.ticket);
    if (it == waiting_.end()) {  // its caller has given up, or belonged to an earlier worker
      if (notice.exited == 0 && notice.pidfd >= 0) ::close(notice.pidfd);
      return;
    }
    Waiting& waiting = it->second;
    waiting.status = notice.status;
    if (notice.exited == 0) {
      waiting.answered = true;
      waiting.pid = notice.pid;
      waiting.step = notice.step;
      waiting.pidfd = UniqueFd(notice.pidfd);
      changed_.notify_all();
    } else if (!waiting.told) {
      waiting.exited = true;
    } else {
      auto callback = std::move(waiting.on_exit);
      waiting_.erase(it);
      lock.unlock();
      if (callback) callback(notice.pid, notice.status);
    }
  }

  const int orders_;
  std::uint64_t last_ticket_;
  UniqueFd stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<std::uint64_t, Waiting> waiting_;
  std::thread reader_;  // last: it uses all of the above
};

}  // namespace mitosis::agent
