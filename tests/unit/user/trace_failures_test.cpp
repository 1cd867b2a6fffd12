// SPDX-License-Identifier: MIT
// freeze: what it refuses, and what becomes of a program whose capture ends at any step.
#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <string>
#include <utility>
#include <vector>

#include "trace_case.hpp"

namespace mitosis::capture {
namespace {

using test::Agrees;
using test::all_threads;
using test::FakeAgent;
using test::lifeline;
using test::Target;
using test::wait_for_threads;

TEST(Freeze, ARefusalAtAnyStepLeavesTheProgramAlone) {
  FakeAgent agent;
  Target target;
  wait_for_threads(target, all_threads);
  const auto no = [] { return Result<void>(Error(Errc::shutting_down)); };
  for (int i = 0; i < 40; ++i) {
    Agrees refuses;
    (i % 2 == 0 ? refuses.at_stop : refuses.at_verdict) = no;
    EXPECT_EQ(freeze(target.pid(), lifeline(1), refuses).code(), Errc::shutting_down);
  }
  target.expect_well();
  EXPECT_EQ(target.text("maps").find(" rwxp "), std::string::npos);
}

/// Captures in a process of its own, and kills it in a step.
void killed_while(pid_t target, bool at_verdict) {
  const pid_t capturer = ::fork();
  if (capturer == 0) {
    Agrees dies;
    const auto die = [] {
      ::raise(SIGKILL);
      return Result<void>();
    };
    (at_verdict ? dies.at_verdict : dies.at_stop) = die;
    (void)freeze(target, lifeline(1), dies);
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(capturer, &status, 0), capturer);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST(Freeze, TheProgramRunsOnWhenItsCapturerIsKilled) {
  FakeAgent agent;
  Target target;
  wait_for_threads(target, all_threads);
  for (int i = 0; i < 40; ++i) {
    killed_while(target.pid(), i % 2 == 0);
    if (i % 10 == 0) target.expect_well();
  }
  target.expect_well();
}

TEST(Freeze, ThreadsInOurCodeGoBackByThemselves) {
  FakeAgent agent;
  Target target;
  wait_for_threads(target, all_threads);
  const pid_t capturer = ::fork();
  if (capturer == 0) {
    auto tracee = Tracee::seize(target.pid());
    const StopClock clock(std::chrono::seconds(5));
    if (!tracee || !tracee->stop(clock)) ::_exit(1);
    auto space = RemoteSpace::map(*tracee, clock, 1u << 20);
    if (!space) ::_exit(2);
    std::vector<ThreadState> states;
    const arch::XstateLayout layout;
    for (TracedThread& thread : tracee->threads()) {
      auto state = read_thread(thread, space->memory(), tracee->tasks(), layout);
      if (!state) ::_exit(3);
      states.push_back(std::move(*state));
    }
    const std::uint64_t done = space->reserve(8, 8);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> where;
    for (const ThreadState& state : states) {
      const std::uint64_t frame = put_frame(*space, state, arch::xfeatures());
      where.emplace_back(space->put(slot_of(0, 0, done)), frame);
    }
    if (!space->write()) ::_exit(4);
    for (std::size_t i = 0; i < states.size(); ++i) {
      TracedThread& thread = tracee->threads()[i];
      const auto there =
          arch::entering(thread.own_registers(), space->code(), where[i].first, where[i].second);
      if (!thread.borrow(there, space->code(), space->code_bytes()) || !thread.run()) ::_exit(5);
    }
    ::raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(capturer, &status, 0), capturer);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  target.expect_well();
}

TEST(Freeze, RefusesByName) {
  FakeAgent agent;
  const Agrees agrees;
  const auto refusal = [&](pid_t pid) {
    const auto frozen = freeze(pid, lifeline(1), agrees);
    return frozen ? std::string() : describe(frozen.error());
  };
  EXPECT_NE(refusal(2).find("kernel thread"), std::string::npos) << refusal(2);
  EXPECT_NE(refusal(0x3fffffff).find("it has exited"), std::string::npos);
  {
    const test::StoppedProgram stopped([] {});
    EXPECT_NE(refusal(stopped.pid()).find("stopped by a signal"), std::string::npos);
  }
  {
    const test::StoppedProgram traced([] { (void)::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); });
    EXPECT_NE(refusal(traced.pid()).find("traces it"), std::string::npos);
  }
  {
    const pid_t zombie = ::fork();
    if (zombie == 0) ::_exit(0);
    siginfo_t info = {};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(zombie), &info, WEXITED | WNOWAIT), 0);
    EXPECT_NE(refusal(zombie).find("it has exited"), std::string::npos);
    ::waitpid(zombie, nullptr, 0);
  }
}

/// Starts a program that is in vfork(), waits until it is, and ends both.
TEST(Freeze, RefusesAProgramInVfork) {
  FakeAgent agent;
  int ready[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  const pid_t parent = ::fork();
  if (parent == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::syscall(SYS_vfork) == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const pid_t self = static_cast<pid_t>(::syscall(SYS_getpid));
      (void)!::write(ready[1], &self, sizeof(self));
      for (;;) ::pause();
    }
    ::_exit(0);
  }
  pid_t child = 0;
  ASSERT_EQ(::read(ready[0], &child, sizeof(child)), ssize_t{sizeof(child)});
  const Agrees agrees;
  const auto in_vfork = freeze(parent, lifeline(1), agrees);
  EXPECT_NE(describe(in_vfork.error()).find("cannot be stopped"), std::string::npos);
  const auto its_child = freeze(child, lifeline(1), agrees);
  EXPECT_NE(describe(its_child.error()).find("shares its memory"), std::string::npos);
  ::kill(child, SIGKILL);
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace mitosis::capture
