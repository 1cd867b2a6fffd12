// SPDX-License-Identifier: MIT
// ShadowReaper: sees to it that no shadow stays a zombie. World: user.
// A shadow is its parent's child. A program that calls the library buries its own; one that was
// prepared from outside, or does not call again, is made to (capture/trace/reap_child.hpp).
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/capture_turns.hpp>
#include <mitosis/fork/user/agent/ended_shadow.hpp>
#include <mitosis/fork/user/capture/trace/reap_child.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// Thread-safe. Begins with what an earlier agent has left. A parent that cannot be stopped
/// (another traces it, or it is stopped itself) is asked again later, ever less often.
class ShadowReaper {
 public:
  using Clock = std::chrono::steady_clock;
  struct Options {
    std::chrono::milliseconds first{200};  ///< the time that a program has to do it itself
    std::chrono::milliseconds longest{30'000};
    std::chrono::milliseconds last{1'000};  ///< so long its end waits for shadows to end
  };

  /// A process has one tracer: it is reaped in when nobody captures it. `turns` must outlive it.
  explicit ShadowReaper(CaptureTurns& turns) : ShadowReaper(turns, Options()) {}
  ShadowReaper(CaptureTurns& turns, Options options)
      : turns_(turns), options_(options), pause_(options.first) {
    thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
  }
  ShadowReaper(const ShadowReaper&) = delete;
  ShadowReaper& operator=(const ShadowReaper&) = delete;
  /// Reaps what can be reaped now.
  ~ShadowReaper() {
    thread_.request_stop();
    thread_.join();
    const auto limit = Clock::now() + options_.last;
    const auto ended = [](const EndedShadow& s) { return detail::has_ended(s.pidfd.get()); };
    while (!std::all_of(shadows_.begin(), shadows_.end(), ended) && Clock::now() < limit) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    reap(shadows_);
  }

  /// The shadow has been ended, or is about to be. `pidfd` stays the caller's.
  void expect(pid_t pid, int pidfd) {
    UniqueFd own(::fcntl(pidfd, F_DUPFD_CLOEXEC, 0));
    const std::lock_guard lock(mutex_);
    if (own) {
      shadows_.push_back({pid, std::move(own)});
    } else {
      look_around_ = true;  // no descriptor is left
    }
    come_soon();
  }
  /// There may be a shadow that nobody has told of.
  void look_around() {
    const std::lock_guard lock(mutex_);
    look_around_ = true;
    come_soon();
  }

 private:
  [[nodiscard]] bool has_work() const noexcept { return look_around_ || !shadows_.empty(); }
  void come_soon() {
    pause_ = options_.first;
    next_ = std::min(next_, Clock::now() + options_.first);
    changed_.notify_one();
  }
  void serve(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (!has_work()) {
        next_ = Clock::time_point::max();
        changed_.wait(lock, stop, [this] { return has_work(); });
        continue;
      }
      if (const auto next = next_; Clock::now() < next) {
        changed_.wait_until(lock, stop, next, [this, next] { return next_ != next; });
        continue;
      }
      next_ = Clock::now() + pause_;
      pause_ = std::min(2 * pause_, options_.longest);
      std::vector<EndedShadow> now;
      now.swap(shadows_);
      const bool all = std::exchange(look_around_, false);
      lock.unlock();
      if (all) {
        for (EndedShadow& shadow : find_ended_shadows()) now.push_back(std::move(shadow));
      }
      reap(now);
      lock.lock();
      for (EndedShadow& shadow : now) shadows_.push_back(std::move(shadow));
    }
  }

  /// Leaves those that have not been reaped.
  void reap(std::vector<EndedShadow>& shadows) {
    const auto forget = [&shadows] {
      std::erase_if(shadows, [](const EndedShadow& s) { return s.is_reaped(); });
    };
    forget();
    std::vector<std::pair<pid_t, pid_t>> zombies;
    std::map<pid_t, CaptureTurns::Turn> held;
    for (const EndedShadow& shadow : shadows) {
      if (!shadow.is_zombie()) continue;
      const pid_t parent = detail::parent_of_shadow(shadow.pid);
      if (parent <= 0) continue;
      if (!held.contains(parent)) {
        auto turn = turns_.take(parent, Clock::now());
        if (!turn) continue;
        held.emplace(parent, std::move(turn).value());
      }
      zombies.emplace_back(parent, shadow.pid);
    }
    if (zombies.empty()) return;
    run_reaper(zombies);
    forget();
  }
  /// In a process of its own, which goes on where the agent is killed: no parent stays half-way.
  static void run_reaper(const std::vector<std::pair<pid_t, pid_t>>& zombies) {
    const pid_t pid = ::fork();
    if (pid < 0) return;  // again later
    if (pid == 0) be_reaper(zombies);
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  /// Forked from a process with threads: no logging.
  [[noreturn]] static void be_reaper(const std::vector<std::pair<pid_t, pid_t>>& zombies) {
    sigset_t all;
    sigfillset(&all);
    ::sigprocmask(SIG_SETMASK, &all, nullptr);
    ::close_range(3, ~0u, 0);
    ::setpgid(0, 0);
    ::prctl(PR_SET_NAME, "mitosis-reap");
    const auto limit = Clock::now() + std::chrono::seconds(2);  // the rest comes again
    for (const auto& [parent, child] : zombies) {
      if (Clock::now() < limit) (void)capture::reap_child(parent, child);
    }
    ::_exit(0);
  }

  CaptureTurns& turns_;
  const Options options_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<EndedShadow> shadows_;
  std::chrono::milliseconds pause_;
  Clock::time_point next_ = Clock::now();
  bool look_around_ = true;
  std::jthread thread_;
};

}  // namespace mitosis::agent
