// SPDX-License-Identifier: MIT
// Processes in namespaces of their own: numbers, clocks, ends. World: user.
#include <gtest/gtest.h>

#include <mitosis/fork/user/agent/namespaces.hpp>

#include <functional>
#include <string>

namespace mitosis::agent {
namespace {

class AgentNamespaces : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  }
  /// Runs `body` in them; its wait status, once the init has ended too.
  static int run(const Namespaces& wanted, const std::function<int()>& body,
                 const std::function<void(int)>& with_pid = nullptr) {
    const MadeProcess made = fork_into_namespaces(wanted);
    if (made.pid == 0) {
      ::alarm(20);
      ::_exit(body());
    }
    EXPECT_GT(made.pid, 0) << made.step;
    if (made.pid <= 0) return -1;
    if (with_pid) with_pid(made.pid);
    int status = 0, init_status = 0;
    EXPECT_EQ(::waitpid(made.pid, &status, 0), made.pid);
    if (wanted.pid != 0) {
      EXPECT_GT(::waitpid(-1, &init_status, 0), 0);  // its init ends with it
    }
    EXPECT_EQ(::waitpid(-1, nullptr, 0), -1) << "nothing else is left";
    EXPECT_EQ(errno, ECHILD);
    return status;
  }
  static std::uint64_t now(clockid_t clock) {
    timespec t = {};
    ::syscall(SYS_clock_gettime, clock, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u +
           static_cast<std::uint64_t>(t.tv_nsec);
  }
};

TEST_F(AgentNamespaces, TheProcessHasItsNumberAndItsOwnProc) {
  const int status = run({.pid = 4321}, [] {
    char self[16] = "";
    if (::getpid() != 4321 || ::gettid() != 4321) return 1;
    if (::readlink("/proc/self", self, sizeof self - 1) != 4 || std::string(self) != "4321") {
      return 2;
    }
    if (::access("/proc/1/status", F_OK) != 0 || ::kill(1, 0) != 0) return 3;
    return 7;
  });
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
  EXPECT_EQ(::access("/proc/self/ns/pid", F_OK), 0) << "the caller's /proc is as before";
}

TEST_F(AgentNamespaces, ASignalEndsTheProcessItself) {
  const int status = run(
      {.pid = 50},
      [] {
        for (;;) ::pause();
        return 0;
      },
      [](int pid) { ::kill(pid, SIGTERM); });
  EXPECT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

TEST_F(AgentNamespaces, WhatItLeavesRunningEndsWithIt) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const int status = run({.pid = 60}, [&] {
    if (::fork() == 0) {  // an orphan that holds the pipe
      ::signal(SIGTERM, SIG_IGN);
      ::write(ends[1], "x", 1);
      for (;;) ::pause();
    }
    ::close(ends[1]);
    char byte = 0;
    return ::read(ends[0], &byte, 1) == 1 ? 0 : 1;
  });
  EXPECT_EQ(status, 0);
  ::close(ends[1]);
  pollfd end = {ends[0], POLLIN, 0};
  char byte = 0;
  EXPECT_EQ(::poll(&end, 1, 10'000), 1);
  EXPECT_EQ(::read(ends[0], &byte, 1), 0) << "nobody holds the other end";
  ::close(ends[0]);
}

TEST_F(AgentNamespaces, TheClocksGoOnFromTheGivenTimes) {
  const std::uint64_t second = 1'000'000'000, before = now(CLOCK_MONOTONIC);
  for (const std::uint64_t monotonic : {before / 2, before + 5000 * second}) {
    const std::uint64_t boottime = monotonic + 77 * second;
    const Namespaces wanted = {.time = 1, .monotonic_ns = monotonic, .boottime_ns = boottime};
    const int status = run(wanted, [&] {
      timespec vdso = {};
      ::clock_gettime(CLOCK_MONOTONIC, &vdso);
      const std::uint64_t m = now(CLOCK_MONOTONIC), b = now(CLOCK_BOOTTIME);
      if (m < monotonic || m > monotonic + 20 * second) return 1;
      if (b < boottime || b > boottime + 20 * second) return 2;
      return static_cast<std::uint64_t>(vdso.tv_sec) > m / second ? 3 : 0;
    });
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  EXPECT_LT(now(CLOCK_MONOTONIC) - before, 60 * second) << "the caller's clock is as before";
}

TEST_F(AgentNamespaces, WhatCannotBeIsNamed) {
  const MadeProcess init = fork_into_namespaces({.pid = 1});
  EXPECT_EQ(init.pid, -EEXIST);
  EXPECT_NE(std::string(init.step).find("number 1"), std::string::npos) << init.step;
  const MadeProcess high = fork_into_namespaces({.pid = 1u << 30});
  EXPECT_EQ(high.pid, -EINVAL);
  EXPECT_NE(std::string(high.step).find("pid_max"), std::string::npos) << high.step;
  while (::waitpid(-1, nullptr, 0) > 0) {  // the init of the second
  }
  const pid_t plain = ::fork();
  if (plain == 0) {
    if (::setresuid(61234, 61234, 61234) != 0) ::_exit(1);
    const MadeProcess made = fork_into_namespaces({.pid = 50});
    const bool named = std::string(made.step).find("CAP_SYS_ADMIN") != std::string::npos;
    ::_exit(made.pid == -EPERM && named ? 0 : 2);
  }
  int status = 0;
  ::waitpid(plain, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace mitosis::agent
