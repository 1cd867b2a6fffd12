// SPDX-License-Identifier: MIT
// reap_child and ShadowReaper: a process buries a child that it does not know, and does not notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/shadow_reaper.hpp>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace mitosis::agent {
namespace {

using testing::HasSubstr;

bool exists(pid_t pid) {
  return std::filesystem::exists("/proc/" + std::to_string(pid));
}

/// A process with one child of that name and exit signal, which has ended unless `alive`. Then it
/// waits as `wait` does, and says what that returned.
class Family {
 public:
  enum Fate { ended, alive };
  using Wait = std::function<int(int fd)>;

  explicit Family(const Wait& wait, int exit_signal = 0, Fate fate = ended,
                  const char* name = "mitosis-shadow")
      : fate_(fate) {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC) | ::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::prctl(PR_SET_NAME, name);  // the child's too
      const auto child = static_cast<pid_t>(::syscall(SYS_clone, exit_signal, 0, 0, 0, 0));
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (fate == alive) ::pause();
        ::_exit(0);
      }
      siginfo_t info = {};
      if (fate == ended)
        ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT | __WALL);
      (void)!::write(out[1], &child, sizeof child);
      const int answer = wait(in[0]);
      (void)!::write(out[1], &answer, sizeof answer);
      ::pause();
    }
    in_ = UniqueFd(in[1]);
    out_ = UniqueFd(out[0]);
    ::close(in[0]);
    ::close(out[1]);
    EXPECT_EQ(::read(out_.get(), &child_, sizeof child_), ssize_t{sizeof child_});
  }
  Family(const Family&) = delete;
  Family& operator=(const Family&) = delete;
  ~Family() {
    if (fate_ == alive) ::kill(child_, SIGKILL);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] pid_t child() const { return child_; }
  [[nodiscard]] bool has_answered(int milliseconds) const {
    pollfd ready{out_.get(), POLLIN, 0};
    return ::poll(&ready, 1, milliseconds) == 1;
  }
  /// Ends its wait, and asks what that returned.
  int answer() {
    EXPECT_EQ(::write(in_.get(), "x", 1), 1);
    int answer = -1;
    EXPECT_TRUE(has_answered(10'000));
    EXPECT_EQ(::read(out_.get(), &answer, sizeof answer), ssize_t{sizeof answer});
    return answer;
  }

 private:
  const Fate fate_;
  pid_t pid_ = 0, child_ = 0;
  UniqueFd in_, out_;
};

int in_read(int fd) {
  char c = 0;
  return ::read(fd, &c, 1) == 1 ? 1 : -errno;
}
/// A wait that the kernel does not restart after a signal, with or without a handler.
int in_epoll(int fd) {
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event event = {.events = EPOLLIN, .data = {}};
  ::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
  const int n = ::epoll_wait(set, &event, 1, -1);
  return n < 0 ? -errno : n;
}
/// No system call at all: computes until there is something to read.
int in_user_mode(int fd) {
  volatile unsigned long rounds = 0;
  pollfd ready{fd, POLLIN, 0};
  do {
    for (unsigned i = 0; i < 50'000'000; ++i) rounds = rounds + 1;
  } while (::poll(&ready, 1, 0) == 0);
  return rounds % 50'000'000 == 0 ? 1 : -1;
}

std::string why_not(pid_t parent, pid_t child) {
  const Result<void> reaped = capture::reap_child(parent, child);
  return reaped ? "" : describe(reaped.error());
}

TEST(ReapChild, ItsParentGoesOnAsIfNothingHadBeen) {
  for (const auto& wait : {in_read, in_epoll, in_user_mode}) {
    Family family(wait);
    ASSERT_TRUE(exists(family.child()));
    EXPECT_EQ(why_not(family.pid(), family.child()), "");
    EXPECT_FALSE(exists(family.child()));
    EXPECT_FALSE(family.has_answered(0));
    EXPECT_EQ(family.answer(), 1);
  }
}

TEST(ReapChild, OneThatLivesOrIsAnothersIsLeftAlone) {
  Family family(in_read, 0, Family::alive);
  Family other(in_read);
  EXPECT_THAT(why_not(family.pid(), family.child()), HasSubstr("no such child"));
  EXPECT_THAT(why_not(family.pid(), other.child()), HasSubstr("no such child"));
  EXPECT_EQ(::kill(family.child(), 0), 0);
  EXPECT_TRUE(exists(other.child()));
  EXPECT_EQ(family.answer(), 1);
}

TEST(ReapChild, AStoppedParentStaysStopped) {
  Family family(in_read);
  ASSERT_EQ(::kill(family.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(family.pid(), &status, WUNTRACED), family.pid());
  EXPECT_THAT(why_not(family.pid(), family.child()), HasSubstr("stopped by a signal"));
  EXPECT_TRUE(exists(family.child()));
  ASSERT_EQ(::kill(family.pid(), SIGCONT), 0);
  EXPECT_EQ(family.answer(), 1);
}

TEST(ParentOfShadow, IsToldOfZombiesThatNobodyElseCanReap) {
  Family shadow(in_read);
  Family lives(in_read, 0, Family::alive);
  Family known(in_read, SIGCHLD);
  Family named(in_read, 0, Family::ended, "another");
  EXPECT_EQ(detail::parent_of_shadow(shadow.child()), shadow.pid());
  EXPECT_EQ(detail::parent_of_shadow(lives.child()), 0);
  EXPECT_EQ(detail::parent_of_shadow(known.child()), 0);
  EXPECT_EQ(detail::parent_of_shadow(named.child()), 0);
}

/// Waits until it is reaped, up to ten seconds.
bool is_reaped_soon(pid_t pid) {
  for (int i = 0; i < 1000 && exists(pid); ++i) ::usleep(10'000);
  return !exists(pid);
}

TEST(ShadowReaper, FindsWhatAnEarlierOneHasLeft) {
  Family left(in_epoll);
  Family known(in_read, SIGCHLD);
  CaptureTurns turns;
  const ShadowReaper reaper(turns, {.first = std::chrono::milliseconds(1)});
  EXPECT_TRUE(is_reaped_soon(left.child()));
  EXPECT_TRUE(exists(known.child()));
  EXPECT_EQ(left.answer(), 1);
}

TEST(ShadowReaper, WaitsForOneThatHasNotEndedYet) {
  Family family(in_read, 0, Family::alive);
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, family.child(), 0)));
  CaptureTurns turns;
  ShadowReaper reaper(turns, {.first = std::chrono::milliseconds(1)});
  reaper.expect(family.child(), pidfd.get());
  ASSERT_EQ(::kill(family.child(), SIGKILL), 0);
  EXPECT_TRUE(is_reaped_soon(family.child()));
}

TEST(ShadowReaper, ComesAgainForAParentThatWasStopped) {
  Family family(in_read);
  ASSERT_EQ(::kill(family.pid(), SIGSTOP), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(family.pid(), &status, WUNTRACED), family.pid());
  CaptureTurns turns;
  ShadowReaper reaper(turns, {.first = std::chrono::milliseconds(1)});
  ASSERT_EQ(::kill(family.pid(), SIGCONT), 0);
  EXPECT_TRUE(is_reaped_soon(family.child()));
  EXPECT_EQ(family.answer(), 1);
}

TEST(ShadowReaper, KeepsOutOfTheWayOfACapture) {
  Family captured(in_read), other(in_read);
  CaptureTurns turns;
  auto turn = std::make_unique<Result<CaptureTurns::Turn>>(
      turns.take(captured.pid(), Clock::now() + std::chrono::seconds(1)));
  ASSERT_TRUE(turn->ok());
  ShadowReaper reaper(turns, {.first = std::chrono::milliseconds(1)});
  EXPECT_TRUE(is_reaped_soon(other.child()));
  EXPECT_TRUE(exists(captured.child()));
  turn.reset();
  EXPECT_TRUE(is_reaped_soon(captured.child()));
}

TEST(ShadowReaper, ReapsAtItsEnd) {
  Family family(in_read, 0, Family::alive);
  const UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, family.child(), 0)));
  {
    CaptureTurns turns;
    ShadowReaper reaper(turns, {.first = std::chrono::minutes(1)});
    reaper.expect(family.child(), pidfd.get());
    ASSERT_EQ(::kill(family.child(), SIGKILL), 0);
  }
  EXPECT_FALSE(exists(family.child()));
  EXPECT_EQ(family.answer(), 1);
}

}  // namespace
}  // namespace mitosis::agent
