// SPDX-License-Identifier: MIT
// fork_into_namespaces(): a child process in namespaces of its own: pid, time, net. World: user.
// In them a resumed process has its parent's very numbers, and its clocks go on from its parent's.
// The caller stays where it is: a helper process makes the namespaces, and both the namespace's
// init and the child become children of the caller (CLONE_PARENT), which so learns the child's own
// end. Sources: pid_namespaces(7), time_namespaces(7), clone(2).
#pragma once

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/fork/user/fresh_network.hpp>
#include <mitosis/fork/user/numbered_fork.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace mitosis::agent {

/// What a child is given of its own. Plain data: it goes from the worker to the keeper.
struct Namespaces {
  std::uint32_t pid = 0;   ///< not 0: a pid namespace, in which the child has this number
  std::uint32_t time = 0;  ///< not 0: a time namespace, with the two clocks
  std::uint32_t net = 0;   ///< not 0: a network namespace, with a loopback
  std::uint32_t reserved = 0;
  std::uint64_t monotonic_ns = 0, boottime_ns = 0;
  [[nodiscard]] bool any() const noexcept { return pid != 0 || time != 0 || net != 0; }
};

/// A process that was made, or why not: `pid` is -errno then, of `step`.
struct MadeProcess {
  int pid = 0;
  char step[92] = {};
};
/// How long making it may take.
inline constexpr int namespace_deadline_ms = 5000;

namespace detail {

/// What helper and child write into the pipe.
struct NamespaceWord {
  std::uint32_t of_child = 0;  ///< 0: the child's pid, from the helper; 1: the child is ready
  MadeProcess made;
};

inline void write_word(int pipe, bool of_child, int pid, const char* step) noexcept {
  NamespaceWord word{.of_child = of_child, .made = {}};
  word.made.pid = pid;
  std::snprintf(word.made.step, sizeof word.made.step, "%s", step);
  (void)!::write(pipe, &word, sizeof word);
}

/// The init of a pid namespace: it adopts and reaps what its children leave, and ends with the one
/// process that the namespace is for; the kernel then ends whatever else there is.
[[noreturn]] inline void be_init(int begin, std::uint32_t number) noexcept {
  ::prctl(PR_SET_NAME, "mitosis-init");
  ::signal(SIGCHLD, SIG_IGN);  // so that none has to be waited for
  for (const int s : {SIGTERM, SIGINT, SIGHUP}) ::signal(s, SIG_IGN);
  ::setsid();
  char word = 0;
  if (::read(begin, &word, 1) != 1) ::_exit(0);  // there will be no child
  const int child = static_cast<int>(::syscall(SYS_pidfd_open, number, 0));
  if (child < 0) ::_exit(0);  // it has ended already
  ::close_range(0, static_cast<unsigned>(child) - 1, 0);
  ::close_range(static_cast<unsigned>(child) + 1, ~0u, 0);
  pollfd ended = {child, POLLIN, 0};
  while (::poll(&ended, 1, -1) < 1) {
  }
  ::_exit(0);
}

/// The offset that makes a clock show `wanted` now, on top of what it is shifted by already.
inline long long clock_offset(clockid_t clock, std::uint64_t wanted, long long shifted) noexcept {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return static_cast<long long>(wanted) - (now.tv_sec * 1'000'000'000ll + now.tv_nsec) + shifted;
}

/// Sets the clocks of the time namespace that the calling process's children will be in.
inline bool set_clocks(const Namespaces& wanted) noexcept {
  long long monotonic = 0, boottime = 0;
  if (FILE* file = ::fopen("/proc/self/timens_offsets", "re"); file != nullptr) {
    long long m[2] = {}, b[2] = {};
    if (std::fscanf(file, "monotonic %lld %lld boottime %lld %lld", m, m + 1, b, b + 1) == 4) {
      monotonic = m[0] * 1'000'000'000 + m[1];
      boottime = b[0] * 1'000'000'000 + b[1];
    }
    std::fclose(file);
  }
  monotonic = clock_offset(CLOCK_MONOTONIC, wanted.monotonic_ns, monotonic);
  boottime = clock_offset(CLOCK_BOOTTIME, wanted.boottime_ns, boottime);
  const auto seconds = [](long long ns) {  // rounded down, for the rest must not be negative
    return ns / 1'000'000'000 - (ns % 1'000'000'000 < 0 ? 1 : 0);
  };
  const long long m = seconds(monotonic), b = seconds(boottime);
  char text[128];
  const int length =
      std::snprintf(text, sizeof text, "monotonic %lld %lld\nboottime %lld %lld\n", m,
                    monotonic - m * 1'000'000'000, b, boottime - b * 1'000'000'000);
  const UniqueFd offsets(::open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC));
  return offsets && ::write(offsets.get(), text, static_cast<std::size_t>(length)) == length;
}

/// In the helper: all steps. Returns in the child alone, which is ready then.
inline void make_namespaces(const Namespaces& wanted, int pipe) noexcept {
  const auto fail = [pipe](int error, const char* step, bool of_child = false) {
    write_word(pipe, of_child, -error, step);
    ::_exit(1);
  };
  if (wanted.time != 0) {
    if (::unshare(CLONE_NEWTIME) != 0) fail(errno, "make a time namespace (CAP_SYS_ADMIN)");
    if (!set_clocks(wanted)) fail(errno, "set the time namespace's clocks (CAP_SYS_TIME)");
  }
  if (wanted.net != 0) {
    bool entered = false;
    if (const int err = enter_fresh_network(entered); err != 0) {
      fail(err, entered ? "set the loopback up" : "make a network namespace (CAP_SYS_ADMIN)");
    }
  }
  int begin[2] = {-1, -1};
  if (wanted.pid != 0) {
    if (wanted.pid == 1) fail(EEXIST, "take number 1, which is the namespace's init's");
    if (::unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) {
      fail(errno, "make a pid namespace (CAP_SYS_ADMIN)");
    }
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
      fail(errno, "make its mounts private");
    }
    if (::pipe2(begin, O_CLOEXEC) != 0) fail(errno, "make a pipe");
    const long init = numbered_fork(0, 0, CLONE_PARENT);
    if (init < 0) fail(static_cast<int>(-init), "start the namespace's init");
    if (init == 0) {
      ::close(begin[1]);
      ::close(pipe);
      be_init(begin[0], wanted.pid);
    }
  }
  const long child = numbered_fork(wanted.pid, 0, CLONE_PARENT);
  if (child < 0) {
    fail(static_cast<int>(-child),
         "take the parent's process number (CAP_CHECKPOINT_RESTORE, kernel.pid_max)");
  }
  if (child > 0) {
    write_word(pipe, false, static_cast<int>(child), "");
    if (begin[1] >= 0) (void)!::write(begin[1], "", 1);
    ::_exit(0);
  }
  if (wanted.pid != 0 &&
      ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
    fail(errno, "mount /proc", true);
  }
  write_word(pipe, true, 1, "");
  ::close(pipe);
  if (begin[0] >= 0) ::close(begin[0]), ::close(begin[1]);
}

}  // namespace detail

/// Of all that a process may do, leaves it this alone; false where it did not have it.
inline bool keep_one_capability(unsigned capability) noexcept {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  data[capability / 32].permitted = data[capability / 32].effective = 1u << (capability % 32);
  return ::syscall(SYS_capset, &header, data) == 0;
}

/// As fork(2): returns in the caller with a child's pid (or what failed), and in the child with
/// pid 0. The caller must be single-threaded, and reap one more child of which it knows nothing:
/// the init, which ends with the child. An init that dies takes the child with it.
inline MadeProcess fork_into_namespaces(const Namespaces& wanted) noexcept {
  MadeProcess failed = {};
  const auto fail = [&failed](int error, const char* step) {
    failed.pid = -error;
    std::snprintf(failed.step, sizeof failed.step, "%s", step);
    return failed;
  };
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno, "make a pipe");
  UniqueFd ours(ends[0]), theirs(ends[1]);
  const pid_t helper = ::fork();
  if (helper < 0) return fail(errno, "fork");
  if (helper == 0) {
    ours.reset();
    detail::make_namespaces(wanted, theirs.release());
    return {};
  }
  theirs.reset();
  int child = 0;
  bool ready = false;
  failed.pid = 0;
  while ((child == 0 || !ready) && failed.pid == 0) {
    pollfd said = {ours.get(), POLLIN, 0};
    detail::NamespaceWord word;
    if (::poll(&said, 1, namespace_deadline_ms) != 1) {
      fail(ETIMEDOUT, "wait for the namespaces");
    } else if (::read(ours.get(), &word, sizeof word) != ssize_t{sizeof word}) {
      fail(ECHILD, "make the namespaces");
    } else if (word.made.pid < 0) {
      failed = word.made;
    } else if (word.of_child != 0) {
      ready = true;
    } else {
      child = word.made.pid;
    }
  }
  if (failed.pid != 0) ::kill(helper, SIGKILL);
  while (::waitpid(helper, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (failed.pid == 0) return {.pid = child, .step = {}};
  if (child != 0) {
    ::kill(child, SIGKILL);
    while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  return failed;
}

}  // namespace mitosis::agent
