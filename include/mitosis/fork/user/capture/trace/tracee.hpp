// SPDX-License-Identifier: MIT
// Tracee: a process with all its threads, traced. World: user.
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/fork/user/capture/trace/traced_thread.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace mitosis::capture {

/// Owns the traced threads; [0] is the leader. At its end each goes on as if nothing had been.
class Tracee {
 public:
  /// Traces all its threads; they run on.
  static Result<Tracee> seize(pid_t pid) {
    Result<UniqueFd> process = open_process(pid);
    if (!process) return process.error();
    Result<UniqueFd> tasks = open_at(process->get(), "task", O_DIRECTORY);
    if (!tasks) return tasks.error();
    Tracee tracee(pid, std::move(*process), std::move(*tasks));
    Result<TracedThread> leader = TracedThread::seize(pid);
    if (!leader) return leader.error();
    tracee.threads_.push_back(std::move(*leader));
    if (Result<std::size_t> found = tracee.seize_new(); !found) return found.error();
    return tracee;
  }
  Tracee(Tracee&&) = default;
  Tracee& operator=(Tracee&&) = delete;
  ~Tracee() {
    // Those that stand still go on before any other is waited for.
    for (TracedThread& thread : threads_) {
      if (thread.tid() >= 0 && thread.stop() != TracedThread::Stop::none) {
        const TracedThread gone = std::move(thread);
      }
    }
  }

  /// Stops every thread, those too that appear meanwhile, and holds them. Those that end while they
  /// are waited for are gone; the leader must not.
  Result<void> stop(const StopClock& clock) {
    std::size_t stopped = 0;
    while (stopped < threads_.size()) {
      for (std::size_t i = stopped; i < threads_.size(); ++i) (void)threads_[i].interrupt();
      while (stopped < threads_.size()) {
        Result<bool> held = stop_one(threads_[stopped], clock);
        if (!held) return held.error();
        if (*held) {
          ++stopped;
        } else {
          forget(stopped);
        }
      }
      if (Result<std::size_t> found = seize_new(); !found) return found.error();
    }
    return {};
  }

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  [[nodiscard]] int process() const noexcept { return process_.get(); }  ///< /proc/PID
  [[nodiscard]] int tasks() const noexcept { return tasks_.get(); }      ///< /proc/PID/task
  [[nodiscard]] std::vector<TracedThread>& threads() noexcept { return threads_; }
  [[nodiscard]] TracedThread& leader() noexcept { return threads_[0]; }

 private:
  Tracee(pid_t pid, UniqueFd process, UniqueFd tasks) noexcept
      : pid_(pid), process_(std::move(process)), tasks_(std::move(tasks)) {}

  /// True: it is held. False: it has ended.
  Result<bool> stop_one(TracedThread& thread, const StopClock& clock) {
    const Result<TracedThread::Stop> stop = thread.wait(clock);
    if (!stop && stop.code() == Errc::child_died && &thread != threads_.data()) return false;
    if (!stop && stop.code() == Errc::timed_out) {
      const std::string where = wait_channel(thread.tid());
      if (where == "0") {  // in no sleep: the machine is too busy
        const auto what = fmt::format("its thread {} gets no processor; try again", thread.tid());
        return Error(Errc::timed_out, what.c_str()).in("stop the process");
      }
      return refuse(
          fmt::format("its thread {} cannot be stopped: it sleeps in {} (a vfork, or a "
                      "device that does not answer)",
                      thread.tid(), where));
    }
    if (!stop) return stop.error();
    if (*stop != TracedThread::Stop::held) return refuse("it is stopped by a signal (SIGSTOP)");
    if (Result<void> ok = thread.hold(); !ok) return ok.error();
    return true;
  }
  static Error refuse(const std::string& what) {
    return Error(Errc::unsupported_process, what.c_str()).in("stop the process");
  }
  [[nodiscard]] std::string wait_channel(pid_t tid) const {
    const auto text = read_at(tasks_.get(), fmt::format("{}/wchan", tid).c_str(), 4096);
    return text && !text->empty() ? std::string(view(*text)) : "the kernel";
  }
  void forget(std::size_t i) {
    std::vector<TracedThread> rest;
    rest.reserve(threads_.size());
    for (std::size_t k = 0; k < threads_.size(); ++k) {
      if (k != i) rest.push_back(std::move(threads_[k]));
    }
    threads_.swap(rest);
  }

  /// How many threads were found that are not traced yet. Until a look finds none.
  Result<std::size_t> seize_new() {
    std::size_t found = 0;
    for (std::size_t before = ~std::size_t{0}; before != found;) {
      before = found;
      DIR* const list =
          ::fdopendir(::openat(tasks_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (list == nullptr) {
        return Error(Errc::child_died, "the process", errno).in("list its threads");
      }
      Result<void> failed;
      while (const dirent* entry = ::readdir(list)) {
        const auto tid = number<pid_t>(entry->d_name);
        if (!tid || knows(*tid)) continue;
        Result<TracedThread> thread = TracedThread::seize(*tid);
        if (!thread && (thread.code() == Errc::child_died || has_ended(*tid))) continue;
        if (!thread) {
          failed = thread.error();
          break;
        }
        threads_.push_back(std::move(*thread));
        ++found;
      }
      ::closedir(list);
      if (!failed) return failed.error();
    }
    return found;
  }
  /// True where the thread is on its way out, when ptrace will not have it any more.
  [[nodiscard]] bool has_ended(pid_t tid) const {
    const auto status = read_at(tasks_.get(), fmt::format("{}/status", tid).c_str(), 1u << 16);
    const std::string_view state = status ? field(view(*status), "State") : std::string_view();
    return state.empty() || state.front() == 'Z' || state.front() == 'X';
  }
  [[nodiscard]] bool knows(pid_t tid) const noexcept {
    return std::any_of(threads_.begin(), threads_.end(),
                       [tid](const TracedThread& t) { return t.tid() == tid; });
  }

  pid_t pid_;
  UniqueFd process_, tasks_;
  std::vector<TracedThread> threads_;
};

}  // namespace mitosis::capture
