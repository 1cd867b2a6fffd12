// SPDX-License-Identifier: MIT
// The program's side of prepare, against a fake agent: who gets which answer, what the shadow is,
// and that nothing stays behind. Programs are forked, since a prepare takes a single thread.
#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/user.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/client/children.hpp>
#include <mitosis/fork/user/client/prepare.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <functional>

#include "capture_fake_agent.hpp"

namespace mitosis::client {
namespace {

using capture::test::FakeAgent;

/// Where an expectation of a program has failed: its exit status.
#define REQUIRE(what) \
  if (!(what)) ::_exit(__LINE__ % 200 + 2)
constexpr int done = 0;
constexpr int was_resumed = 1;

class Program {
 public:
  explicit Program(const std::function<void(int sd)>& body) {
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(30);
    ::close_range(3, ~0u, 0);
    const Result<int> sd = connections().open();
    REQUIRE(sd.ok());
    body(*sd);
    ::_exit(done);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// Its exit status, or minus the signal.
  [[nodiscard]] int wait() const {
    int status = 0;
    if (::waitpid(pid_, &status, 0) != pid_) return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }

 private:
  pid_t pid_ = -1;
};

std::string read_text(pid_t pid, const char* name) {
  const auto process = capture::open_process(pid);
  if (!process) return "";
  const auto text = capture::read_at(process->get(), name, 1u << 20);
  return text ? std::string(capture::view(*text)) : "";
}
/// Gone, or waiting to be buried.
bool has_ended(pid_t pid) {
  const std::string status = read_text(pid, "status");
  return status.empty() || capture::field(status, "State").starts_with('Z');
}
/// Waits for the condition for at most ten seconds.
bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 10000; ++i) {
    if (condition()) return true;
    ::usleep(1000);
  }
  return false;
}

TEST(ClientPrepare, TheParentGoesOnWithTheKey) {
  FakeAgent agent;
  const Program program([](int sd) {
    const auto outcome = prepare(sd, HandlerId{73}, nullptr);
    REQUIRE(outcome.ok());
    REQUIRE(!outcome->child);
    REQUIRE(outcome->key.bytes[15] == 0xab);
    // The shadow is nobody's child, as far as the program's own waits go.
    REQUIRE(::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD);
  });
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  EXPECT_EQ(program.wait(), done);
}

TEST(ClientPrepare, TheShadowHoldsNothingAndEndsWithItsAgent) {
  FakeAgent agent;
  const Program program([](int sd) {
    ::signal(SIGUSR1, SIG_IGN);
    (void)::open("/dev/null", O_RDONLY);
    REQUIRE(prepare(sd, HandlerId{73}, nullptr).ok());
    ::pause();
  });
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  EXPECT_EQ(read_text(shadow->pid, "comm"), "mitosis-shadow\n");
  const auto process = capture::open_process(shadow->pid);
  ASSERT_TRUE(process.ok());
  const auto fds = capture::open_at(process->get(), "fd", O_DIRECTORY);
  ASSERT_TRUE(fds.ok());
  const auto numbers = capture::detail::list_fds(fds->get());
  ASSERT_TRUE(numbers.ok());
  EXPECT_EQ(numbers->size(), 1u);  // the lifeline
  EXPECT_EQ(::getsid(shadow->pid), shadow->pid);
  EXPECT_EQ(shadow->facts.sigactions[SIGUSR1 - 1].handler,
            reinterpret_cast<std::uint64_t>(SIG_IGN));
  EXPECT_EQ(shadow->facts.thread.signal_mask, 0u);  // as the program had it
  EXPECT_EQ(shadow->facts.thread.tid, static_cast<std::uint32_t>(program.pid()));
  EXPECT_NE(shadow->facts.thread.clear_child_tid, 0u);
  agent.die();
  EXPECT_TRUE(eventually([&] { return has_ended(shadow->pid); }));
  ::kill(program.pid(), SIGKILL);
  EXPECT_EQ(program.wait(), -SIGKILL);
}

TEST(ClientPrepare, TheShadowsPacketIsWhatTheCodecWouldWrite) {
  ShadowPacket packet;
  packet.nonce_low = 0x89abcdef;
  packet.nonce_high = 0x01234567;
  packet.facts.brk = 42;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&packet);
  const auto decoded = local::decode_packet<local::ShadowReady>(Bytes(bytes, sizeof(packet)));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded->nonce, 0x0123456789abcdefu);
  EXPECT_EQ(local::encode_packet(*decoded),
            std::vector<std::uint8_t>(bytes, bytes + sizeof(packet)));
}

TEST(ClientPrepare, ItsDescriptorParses) {
  FakeAgent agent;
  const Program program([](int sd) {
    REQUIRE(prepare(sd, HandlerId{73}, nullptr).ok());
    ::pause();
  });
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  const auto facts = agent.checked();
  ASSERT_TRUE(facts.ok());
  capture::CaptureRequest request;
  request.shadow = shadow->pid;
  const auto captured = capture::capture_shadow(request, *facts, shadow->facts);
  ASSERT_TRUE(captured.ok()) << describe(captured.error());
  const auto view = DescriptorView::parse(Bytes(captured->descriptor));
  ASSERT_TRUE(view.ok()) << describe(view.error());
  EXPECT_EQ(view->threads().size(), 1u);
  EXPECT_EQ(view->xstate(view->threads()[0]).size(), arch::minimal_xstate_bytes);
  for (const descriptor::FileRecord& file : view->files()) EXPECT_LE(file.fd, 2);
  ::kill(program.pid(), SIGKILL);
  EXPECT_EQ(program.wait(), -SIGKILL);
}

#if defined(__x86_64__)
/// Lets the shadow run on as a child would: from the descriptor's registers.
TEST(ClientPrepare, AChildReturnsFromTheSameCallAsChild) {
  FakeAgent agent;
  const Program program([](int sd) {
    volatile int local_variable = 42;
    const auto outcome = prepare(sd, HandlerId{73}, nullptr);
    REQUIRE(outcome.ok());
    if (outcome->child) {
      REQUIRE(local_variable == 42);
      REQUIRE(identity().has_value());
      REQUIRE(::fcntl(sd, F_GETFD) == FD_CLOEXEC);  // its number is held
      ::_exit(was_resumed);
    }
    local_variable = 43;
    ::pause();
  });
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  ASSERT_EQ(::ptrace(PTRACE_SEIZE, shadow->pid, nullptr, PTRACE_O_EXITKILL), 0);
  ASSERT_EQ(::ptrace(PTRACE_INTERRUPT, shadow->pid, nullptr, nullptr), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(shadow->pid, &status, __WALL), shadow->pid);
  user_regs_struct registers = {};
  static_assert(sizeof(registers) == 27 * sizeof(std::uint64_t));
  std::memcpy(&registers, shadow->facts.thread.registers, sizeof(registers));
  ASSERT_EQ(::ptrace(PTRACE_SETREGS, shadow->pid, nullptr, &registers), 0);
  ASSERT_EQ(::ptrace(PTRACE_CONT, shadow->pid, nullptr, nullptr), 0);
  ASSERT_EQ(::waitpid(shadow->pid, &status, __WALL), shadow->pid);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), was_resumed);
  ::kill(program.pid(), SIGKILL);
  EXPECT_EQ(program.wait(), -SIGKILL);
}
#endif

TEST(ClientPrepare, ARefusalLeavesNothing) {
  FakeAgent agent;
  agent.refuse = true;
  const Program program([](int sd) {
    const auto outcome = prepare(sd, HandlerId{73}, nullptr);
    REQUIRE(outcome.code() == Errc::handler_in_use);
    REQUIRE(outcome.error().handler == 73);
    REQUIRE(::waitpid(-1, nullptr, static_cast<int>(__WALL) | WNOHANG) == -1 && errno == ECHILD);
    REQUIRE(nil(sd).ok());  // and the connection is in step
  });
  EXPECT_EQ(program.wait(), done);
}

TEST(ClientPrepare, ShadowsAreBuriedAtTheNextCall) {
  FakeAgent agent;
  const Program program([](int sd) {
    REQUIRE(prepare(sd, HandlerId{73}, nullptr).ok());
    // Its shadow is killed by the test.
    siginfo_t info = {};
    REQUIRE(::waitid(P_ALL, 0, &info, static_cast<int>(__WALL) | WEXITED | WNOWAIT) == 0);
    REQUIRE(nil(sd).ok());
    REQUIRE(::waitpid(-1, nullptr, static_cast<int>(__WALL) | WNOHANG) == -1 && errno == ECHILD);
  });
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  ::kill(shadow->pid, SIGKILL);
  EXPECT_EQ(program.wait(), done);
}

TEST(ClientPrepare, SignalsDoNotDisturbIt) {
  FakeAgent agent;
  const Program program([](int sd) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};  // without SA_RESTART
    ::sigaction(SIGPROF, &action, nullptr);
    const itimerval often = {{0, 50}, {0, 50}};
    ::setitimer(ITIMER_PROF, &often, nullptr);
    for (unsigned i = 1; i <= 50; ++i) REQUIRE(prepare(sd, HandlerId{i}, nullptr).ok());
    sigset_t mask;
    ::sigprocmask(SIG_SETMASK, nullptr, &mask);
    REQUIRE(::sigismember(&mask, SIGPROF) == 0);
  });
  EXPECT_EQ(program.wait(), done);
  EXPECT_EQ(agent.prepares, 50);
}

TEST(ClientConnections, AForkedChildTalksForItself) {
  FakeAgent agent;
  const Program program([](int sd) {
    REQUIRE(nil(sd).ok());
    const pid_t child = ::fork();
    if (child == 0) {
      REQUIRE(prepare(sd, HandlerId{1}, nullptr).ok());
      ::_exit(done);
    }
    for (int i = 0; i < 20; ++i) REQUIRE(nil(sd).ok());  // each gets its own answers
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child && status == 0);
  });
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  EXPECT_EQ(program.wait(), done);
}

TEST(ClientConnections, AResumedChildHoldsTheNumberAndConnectsAnew) {
  FakeAgent agent;
  for (const bool occupied : {false, true}) {
    const Program program([&](int sd) {
      if (!occupied) ::close(sd);  // as a restorer leaves it
      connections().disown();
      REQUIRE(::open("/dev/null", O_RDONLY) != sd);
      REQUIRE(::fcntl(sd, F_GETFD) == FD_CLOEXEC);
      REQUIRE(nil(sd).ok());
      ::close(sd);
      connections().disown();
      ::close(sd);  // and where the program has closed it itself
      REQUIRE(nil(sd).ok());
    });
    EXPECT_EQ(program.wait(), done);
  }
}

TEST(ClientConnections, AChildsEndIsKeptForWait) {
  FakeAgent agent;
  agent.events_first = true;
  const Program program([](int sd) {
    REQUIRE(prepare(sd, HandlerId{1}, nullptr).ok());
    REQUIRE(nil(sd).ok());
    for (int i = 0; i < 2; ++i) {
      const auto ended = wait_child(sd, std::chrono::milliseconds(0));
      REQUIRE(ended.ok() && ended->has_value());
      REQUIRE((*ended)->pid == 4711 && (*ended)->status == 256);
    }
    const auto none = wait_child(sd, std::chrono::milliseconds(0));
    REQUIRE(none.ok() && !none->has_value());
  });
  EXPECT_EQ(program.wait(), done);
}

TEST(ClientConnections, WithoutAnAgentTheErrorSaysWhatToDo) {
  ::setenv("MITOSIS_SOCKET", "/tmp/no-such-folder/agent.sock", 1);
  const auto sd = connections().open();
  ASSERT_EQ(sd.code(), Errc::agent_not_running);
  const std::string sentence = describe(sd.error());
  EXPECT_NE(sentence.find("/tmp/no-such-folder/agent.sock"), std::string::npos);
  EXPECT_NE(sentence.find("mitosis agent"), std::string::npos);
}

TEST(ClientConnections, AnAgentThatDiesIsAnErrorAndComesBack) {
  auto agent = std::make_unique<FakeAgent>();
  const Result<int> sd = connections().open();
  ASSERT_TRUE(sd.ok());
  ASSERT_TRUE(nil(*sd).ok());
  agent->die();
  EXPECT_EQ(nil(*sd).code(), Errc::connection_lost);
  agent = std::make_unique<FakeAgent>();
  EXPECT_TRUE(nil(*sd).ok());
  connections().close(*sd);
  EXPECT_EQ(nil(*sd).code(), Errc::invalid_argument);
}

}  // namespace
}  // namespace mitosis::client
