// SPDX-License-Identifier: MIT
// LocalServer: accepts the programs of this machine, a thread each. World: user.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <spdlog/spdlog.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/agent/refusal_log.hpp>
#include <mitosis/fork/user/local/basic.hpp>
#include <mitosis/fork/user/local/channel.hpp>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace mitosis::agent {

/// Runs `serve(channel)` on a thread for each connection, at most `max_connections` at a time;
/// further ones wait in the listen queue. `stop` shuts all of them down and waits for them.
class LocalServer {
 public:
  using Serve = std::function<void(local::Channel)>;
  static constexpr std::size_t max_connections = 4096;
  /// Of one user other than root, so that no user can keep the others out; more are closed.
  static constexpr std::size_t max_of_a_user = 1024;
  static constexpr std::chrono::seconds stop_deadline{3};

  /// `listening` is bound, listening and stays the keeper's.
  LocalServer(int listening, Serve serve)
      : listening_(listening),
        serve_(std::move(serve)),
        wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~LocalServer() { stop(); }
  LocalServer(const LocalServer&) = delete;
  LocalServer& operator=(const LocalServer&) = delete;

  /// limit_exceeded where it has got no descriptor to be stopped by.
  Result<void> start() {
    if (!wake_) return Error(Errc::limit_exceeded, "eventfd", EMFILE).in("serve programs");
    acceptor_ = std::thread([this] { accept_all(); });
    return {};
  }

  /// Serves a connection that was not accepted but made (a spawned child's).
  void serve(UniqueFd connection) {
    ucred user = {};
    socklen_t bytes = sizeof user;
    if (::getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &user, &bytes) != 0) return;
    std::unique_lock lock(mutex_);
    if (stopping_) return;
    if (user.uid != 0 && of_user_[user.uid] >= max_of_a_user) {
      const std::string about = "user " + std::to_string(user.uid) + " has " +
                                std::to_string(max_of_a_user) +
                                " connections to the agent already; end some first";
      return refuse(connection.get(), Error(Errc::limit_exceeded, about.c_str()));
    }
    const int fd = connection.get();
    open_.insert(fd);
    ++of_user_[user.uid];
    lock.unlock();
    const auto done = [this, fd, uid = user.uid] {
      const std::lock_guard guard(mutex_);
      open_.erase(open_.find(fd));
      if (--of_user_[uid] == 0) of_user_.erase(uid);
      changed_.notify_all();
    };
    try {
      // Detached, because nobody waits for one connection; `stop` waits for all by `open_`.
      std::thread([this, done, mine = std::move(connection)]() mutable {
        serve_(local::Channel(std::move(mine)));
        done();
      }).detach();
    } catch (const std::system_error&) {  // no more threads: this one is closed
      done();
    }
  }

  /// Returns false when a connection did not end within the deadline.
  bool stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    if (acceptor_.joinable()) acceptor_.join();
    std::unique_lock lock(mutex_);
    for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    changed_.notify_all();
    return changed_.wait_for(lock, stop_deadline, [this] { return open_.empty(); });
  }

 private:
  /// Tells the program why, if it listens, before its connection is closed.
  void refuse(int connection, const Error& why) {
    refused_.add(why);
    Error told = why;
    (void)local::ChannelView(connection)
        .send(local::Failed{told.in("open the local agent")},
              local::within(std::chrono::milliseconds(0)));
  }

  /// Without a free descriptor nobody can be accepted, nor told: one that is kept for it is given.
  void refuse_for_want_of_files() {
    spare_.reset();
    const UniqueFd connection(
        ::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection) {
      refuse(connection.get(),
             Error(Errc::limit_exceeded,
                   "the agent has too many files open; raise its `ulimit -n`, or end some children",
                   EMFILE));
    }
  }

  void accept_all() {
    while (true) {
      if (!spare_) spare_ = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      refused_.tick();
      pollfd fds[2] = {{wake_.get(), POLLIN, 0}, {listening_, POLLIN, 0}};
      if (::poll(fds, 2, -1) < 0 && errno != EINTR) return;
      if (fds[0].revents != 0) return;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return stopping_ || open_.size() < max_connections; });
        if (stopping_) return;
      }
      UniqueFd connection(::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection) {
        if (errno == EMFILE || errno == ENFILE) {
          refuse_for_want_of_files();
          std::unique_lock lock(mutex_);
          changed_.wait_for(lock, std::chrono::milliseconds(100));
        }
        continue;
      }
      const int on = 1;  // each packet carries its sender's pid and uid
      ::setsockopt(connection.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
      serve(std::move(connection));
    }
  }

  const int listening_;
  Serve serve_;
  UniqueFd wake_;
  UniqueFd spare_;  // the acceptor's: to be given up for a moment
  RefusalLog refused_{"a program's connection was refused", spdlog::level::warn};
  std::thread acceptor_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<uid_t, std::size_t> of_user_;  // connections
  std::unordered_multiset<int> open_;  // a number may be taken anew before its last user is done
  bool stopping_ = false;
};

}  // namespace mitosis::agent
