// SPDX-License-Identifier: MIT
// Process: a program that was started, and its end. World: user.
// It never outlives its starter: the kernel kills it when the starting thread dies (so start from
// a thread that stays), and the destructor ends it in order.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::testbed {

struct ProcessSpec {
  std::vector<std::string> argv;         ///< argv[0] is a path
  std::vector<std::string> environment;  ///< NAME=VALUE, on top of the caller's
  int network = -1;                      ///< a network namespace, -1: the caller's
  int in = -1, out = -1, err = -1;       ///< -1: /dev/null; stay the caller's
  int death_signal = SIGKILL;            ///< sent when the starting thread dies
  std::chrono::milliseconds grace{std::chrono::seconds(3)};  ///< between SIGTERM and SIGKILL
};

/// Owns a child process. Not thread-safe.
class Process {
 public:
  using Deadline = std::chrono::steady_clock::time_point;

  /// Returns once the program runs; a failed exec is an error here. In a process group of its own,
  /// so that a terminal's Ctrl-C reaches the starter alone.
  static Result<Process> start(const ProcessSpec& spec);

  Process(Process&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        pidfd_(std::move(other.pidfd_)),
        status_(other.status_),
        grace_(other.grace_) {}
  Process& operator=(Process&& other) noexcept {
    if (this != &other) {
      end();
      pid_ = std::exchange(other.pid_, -1);
      pidfd_ = std::move(other.pidfd_);
      status_ = other.status_;
      grace_ = other.grace_;
    }
    return *this;
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process() { end(); }

  [[nodiscard]] int pid() const noexcept { return pid_; }
  [[nodiscard]] int pidfd() const noexcept { return pidfd_.get(); }
  [[nodiscard]] bool running() { return pid_ > 0 && !wait(Deadline{}); }
  void signal(int number) noexcept {
    if (pid_ > 0 && !status_) ::kill(pid_, number);
  }
  /// The status as of waitpid(2), or nothing where it still runs at the deadline.
  std::optional<int> wait(Deadline deadline);
  /// SIGTERM, the grace period, SIGKILL; afterwards nothing is left of it.
  void end() noexcept;

 private:
  Process(int pid, UniqueFd pidfd, std::chrono::milliseconds grace) noexcept
      : pid_(pid), pidfd_(std::move(pidfd)), grace_(grace) {}
  int pid_ = -1;
  UniqueFd pidfd_;
  std::optional<int> status_;
  std::chrono::milliseconds grace_{0};
};

/// Exit status as a shell tells it: 128 and the signal's number for a killed process.
inline int shell_status(int wait_status) noexcept {
  return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

namespace detail {

/// What runs between fork and exec: async-signal-safe calls only. Returns an errno.
inline int become(const ProcessSpec& spec, const char* const* argv, const char* const* environment,
                  int starter) noexcept {
  ::prctl(PR_SET_PDEATHSIG, spec.death_signal);
  if (::getppid() != starter) ::_exit(127);
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (spec.network >= 0 && ::setns(spec.network, CLONE_NEWNET) != 0) return errno;
  const int wanted[3] = {spec.in, spec.out, spec.err};
  int above[3];
  for (int i = 0; i < 3; ++i) {
    const int null = wanted[i] < 0 ? ::open("/dev/null", O_RDWR | O_CLOEXEC) : wanted[i];
    above[i] = ::fcntl(null, F_DUPFD_CLOEXEC, 10);  // they may overlap 0..2 in any order
    if (above[i] < 0) return errno;
  }
  for (int i = 0; i < 3; ++i) ::dup2(above[i], i);
  // What our own starter left open is not the program's: a stray pipe keeps it from preparing.
  ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
  ::execve(argv[0], const_cast<char* const*>(argv), const_cast<char* const*>(environment));
  return errno;
}

inline std::vector<const char*> pointers(const std::vector<std::string>& strings) {
  std::vector<const char*> out;
  out.reserve(strings.size() + 1);
  for (const std::string& s : strings) out.push_back(s.c_str());
  out.push_back(nullptr);
  return out;
}

}  // namespace detail

inline Result<Process> Process::start(const ProcessSpec& spec) {
  std::vector<std::string> environment = spec.environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);  // of two with one name the first counts
  }
  const std::vector<const char*> argv = detail::pointers(spec.argv);
  const std::vector<const char*> envp = detail::pointers(environment);
  const auto failure = [&](int err) {
    return Error(Errc::system_call_failed, spec.argv[0].c_str(), err).in("start a process");
  };
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return failure(errno);
  UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const int starter = ::getpid();
  const int pid = ::fork();
  if (pid < 0) return failure(errno);
  if (pid == 0) {
    const int failed = detail::become(spec, argv.data(), envp.data(), starter);
    (void)!::write(write_end.get(), &failed, sizeof failed);
    ::_exit(127);
  }
  write_end.reset();
  Process process(pid, UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), spec.grace);
  int failed = 0;
  while (::read(read_end.get(), &failed, sizeof failed) < 0 && errno == EINTR) {
  }
  if (failed != 0) return failure(failed);
  return process;
}

inline std::optional<int> Process::wait(Deadline deadline) {
  while (pid_ > 0 && !status_) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      status_ = status;
      break;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return std::nullopt;
    pollfd ended = {pidfd_.get(), POLLIN, 0};
    if (::poll(&ended, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) break;
  }
  return status_;
}

inline void Process::end() noexcept {
  if (pid_ <= 0) return;
  signal(SIGTERM);
  if (!wait(std::chrono::steady_clock::now() + grace_)) {
    signal(SIGKILL);
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
  }
  pid_ = -1;
}

}  // namespace mitosis::testbed
