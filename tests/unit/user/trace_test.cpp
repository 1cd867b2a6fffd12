// SPDX-License-Identifier: MIT
// freeze: a program that is captured again and again does not notice, and its shadow is all of it.
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/capture/trace/freeze.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <filesystem>
#include <optional>
#include <sstream>
#include <string>

#include "capture_fake_agent.hpp"

namespace mitosis::capture {
namespace {

using test::FakeAgent;

/// An agent that always agrees; or runs what a test wants to happen at that moment.
struct Agrees {
  std::function<Result<void>()> at_stop = [] { return Result<void>(); };
  std::function<Result<void>()> at_verdict = [] { return Result<void>(); };
  Result<void> all_stopped() const { return at_stop(); }
  Result<void> verdict() const { return at_verdict(); }
};

/// The program trace_target, or any other, with its standard streams in our hands.
class Target {
 public:
  explicit Target(const char* path = TRACE_TARGET) {
    int in[2], out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC) | ::pipe2(out, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
      ::execl(path, path, nullptr);
      ::_exit(127);
    }
    in_ = UniqueFd(in[1]);
    out_ = UniqueFd(out[0]);
    ::close(in[0]);
    ::close(out[1]);
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  ~Target() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, static_cast<int>(__WALL));
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

  /// What it has to say: "name rounds faults errno;" for each of its threads. Empty: it is gone.
  std::string report() {
    std::string line;
    if (::write(in_.get(), "\n", 1) != 1) return line;
    for (char c = 0; ::read(out_.get(), &c, 1) == 1 && c != '\n';) line.push_back(c);
    return line;
  }
  struct Kind {
    std::string name;
    long rounds = 0, faults = 0;
    int error = 0;
  };
  std::vector<Kind> kinds() {
    std::vector<Kind> all;
    std::istringstream line(report());
    for (Kind kind; line >> kind.name >> kind.rounds >> kind.faults >> kind.error;) {
      all.push_back(kind);
      line.ignore(1);
    }
    return all;
  }
  /// Each thread does something without a fault, from now on, within ten seconds.
  void expect_well() {
    const auto before = kinds();
    ASSERT_EQ(before.size(), 11u) << "it is gone";
    std::vector<Kind> after;
    const auto moved = [&] {
      after = kinds();
      if (after.size() != before.size()) return true;
      for (std::size_t i = 0; i < after.size(); ++i) {
        if (after[i].rounds == before[i].rounds) return false;
      }
      return true;
    };
    for (int i = 0; i < 1000 && !moved(); ++i) ::usleep(10'000);
    ASSERT_EQ(after.size(), before.size()) << "it is gone";
    for (std::size_t i = 0; i < after.size(); ++i) {
      EXPECT_GT(after[i].rounds, before[i].rounds) << after[i].name;
      EXPECT_EQ(after[i].faults, 0) << after[i].name << ": " << ::strerror(after[i].error);
    }
  }
  [[nodiscard]] std::string text(const char* name) const {
    const auto process = open_process(pid_);
    const auto text = process ? read_at(process->get(), name, 1u << 20) : process.error();
    return text ? std::string(view(*text)) : "";
  }
  [[nodiscard]] std::size_t entries(const char* directory) const {
    std::size_t count = 0;
    const std::string path = "/proc/" + std::to_string(pid_) + "/" + directory;
    for (const auto& entry : std::filesystem::directory_iterator(path)) count += entry.exists();
    return count;
  }

 private:
  pid_t pid_ = -1;
  UniqueFd in_, out_;
};

/// A thread may start another while it is being counted: waits until all twelve are there.
void wait_for_threads(const Target& target, std::size_t threads) {
  for (int i = 0; i < 1000 && target.entries("task") != threads; ++i) ::usleep(10'000);
  ASSERT_EQ(target.entries("task"), threads);
}

Lifeline lifeline(std::uint64_t nonce) {
  Lifeline to;
  const auto address = local::detail::socket_address(local::socket_path());
  EXPECT_TRUE(address.ok());
  to.agent = *address;
  to.nonce = nonce;
  return to;
}

constexpr std::size_t all_threads = 13;  // main, eleven kinds, the one that tells

TEST(Freeze, AProgramThatIsCapturedAgainAndAgainDoesNotNotice) {
  FakeAgent agent;
  Target target;
  wait_for_threads(target, all_threads);
  target.expect_well();
  const std::size_t files = target.entries("fd");
  const std::string rwx = " rwxp ";
  for (std::uint64_t i = 1; i <= 120; ++i) {
    const Agrees agrees;
    const auto frozen = freeze(target.pid(), lifeline(i), agrees);
    ASSERT_TRUE(frozen.ok()) << describe(frozen.error());
    EXPECT_EQ(frozen->threads.size(), all_threads);
    const auto shadow = agent.take_shadow();
    ASSERT_TRUE(shadow.has_value());
    EXPECT_EQ(shadow->pid, frozen->shadow);
    EXPECT_EQ(shadow->ready.nonce, i);
    ::kill(shadow->pid, SIGKILL);
    if (i % 20 == 0) target.expect_well();
  }
  target.expect_well();
  EXPECT_EQ(target.entries("task"), all_threads);
  EXPECT_EQ(target.entries("fd"), files);
  EXPECT_EQ(target.text("maps").find(rwx), std::string::npos);
  EXPECT_EQ(field(target.text("status"), "TracerPid"), "0");
}

TEST(Freeze, EachThreadIsThereAsItStood) {
  FakeAgent agent;
  Target target;
  wait_for_threads(target, all_threads);
  target.expect_well();
  const Agrees agrees;
  const auto frozen = freeze(target.pid(), lifeline(7), agrees);
  ASSERT_TRUE(frozen.ok()) << describe(frozen.error());
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  EXPECT_EQ(frozen->threads[0].record.tid, static_cast<std::uint32_t>(target.pid()));
  unsigned with_stack = 0, rounding_down = 0;
  for (const ThreadState& thread : frozen->threads) {
    const descriptor::ThreadRecord& record = thread.record;
    EXPECT_EQ(record.registers[arch::reg_orig_rax], ~std::uint64_t{0});
    const auto rax = static_cast<std::int64_t>(record.registers[arch::reg_rax]);
    EXPECT_FALSE(rax <= -512 && rax >= -516) << "the kernel's own codes are not a program's";
    EXPECT_NE(record.registers[arch::reg_fs_base], 0u);
    EXPECT_NE(record.clear_child_tid, 0u);
    EXPECT_NE(record.robust_list, 0u);
    EXPECT_STREQ(record.name, "trace_target");
    EXPECT_GE(thread.xstate.size(), 576u);
    const std::uint64_t usr1 = 1u << (SIGUSR1 - 1);
    EXPECT_EQ(record.signal_mask & usr1, usr1) << "also of the one in sigsuspend";
    if (record.altstack_bytes == 1u << 16) ++with_stack;
    std::uint32_t mxcsr = 0;
    std::memcpy(&mxcsr, thread.xstate.data() + 24, sizeof(mxcsr));
    if ((mxcsr & 0x6000u) == 0x2000u) ++rounding_down;
  }
  EXPECT_EQ(with_stack, 11u);
  EXPECT_GE(rounding_down, 10u);  // a signal handler starts with the default: one may be in it
  // The shadow: nothing but its lifeline, its own session, the program's signal actions.
  EXPECT_EQ(shadow->facts.version, local::ShadowFacts::current_version);
  EXPECT_NE(shadow->facts.brk, 0u);
  EXPECT_NE(shadow->facts.sigactions[SIGUSR1 - 1].handler, 0u);
  EXPECT_EQ(::getsid(shadow->pid), shadow->pid);
  const auto process = open_process(shadow->pid);
  ASSERT_TRUE(process.ok());
  const auto fds = open_at(process->get(), "fd", O_DIRECTORY);
  ASSERT_TRUE(fds.ok());
  EXPECT_EQ(detail::list_fds(fds->get())->size(), 1u);

  // Its descriptor has the threads, and not our pages.
  const auto facts = check_parent(shadow->pid);
  ASSERT_TRUE(facts.ok()) << describe(facts.error());
  CaptureRequest request;
  request.shadow = shadow->pid;
  request.threads = Span<const ThreadState>(frozen->threads);
  request.hidden_start = frozen->hidden_start;
  request.hidden_end = frozen->hidden_end;
  const auto captured = capture_shadow(request, *facts, shadow->facts);
  ASSERT_TRUE(captured.ok()) << describe(captured.error());
  const auto view = DescriptorView::parse(Bytes(captured->descriptor));
  ASSERT_TRUE(view.ok()) << describe(view.error());
  ASSERT_EQ(view->threads().size(), all_threads);
  for (std::size_t i = 0; i < all_threads; ++i) {
    EXPECT_EQ(view->xstate(view->threads()[i]).size(), frozen->threads[i].xstate.size());
  }
  for (const descriptor::VmaRecord& vma : view->vmas()) {
    EXPECT_TRUE(vma.end <= frozen->hidden_start || vma.start >= frozen->hidden_end);
  }
}

TEST(Freeze, MemoryThatAForkWouldLeaveOutComesAlong) {
  FakeAgent agent;
  constexpr std::size_t bytes = 16 * page_size;
  char* const memory = static_cast<char*>(
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  int told[2];
  ASSERT_EQ(::pipe2(told, O_CLOEXEC), 0);
  const pid_t target = ::fork();
  if (target == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    std::memset(memory, 'x', bytes);
    ::madvise(memory, bytes / 4, MADV_DONTFORK);
    ::madvise(memory + bytes / 2, bytes / 4, MADV_DONTFORK);
    (void)!::write(told[1], "x", 1);
    for (;;) ::pause();
  }
  char ready = 0;
  ASSERT_EQ(::read(told[0], &ready, 1), 1);
  const auto marked = [target] {  // "dc": do not copy
    std::size_t count = 0;
    const auto smaps = read_at(AT_FDCWD, ("/proc/" + std::to_string(target) + "/smaps").c_str(),
                               std::size_t{1} << 24);
    if (!smaps) return count;
    const std::string_view text = view(*smaps);
    for (std::size_t at = 0; (at = text.find(" dc ", at)) != std::string_view::npos; ++at) ++count;
    return count;
  };
  const std::size_t before = marked();
  EXPECT_GE(before, 2u);
  const Agrees agrees;
  const auto frozen = freeze(target, lifeline(1), agrees);
  ASSERT_TRUE(frozen.ok()) << describe(frozen.error());
  const auto shadow = agent.take_shadow();
  ASSERT_TRUE(shadow.has_value());
  EXPECT_EQ(shadow->pid, frozen->shadow);
  const std::string path = "/proc/" + std::to_string(shadow->pid) + "/mem";
  const UniqueFd copy(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::vector<char> there(bytes);
  EXPECT_EQ(::pread(copy.get(), there.data(), bytes, reinterpret_cast<off_t>(memory)),
            static_cast<ssize_t>(bytes));
  EXPECT_EQ(there, std::vector<char>(bytes, 'x'));
  EXPECT_EQ(marked(), before) << "in the program itself they are as before";
  // Nobody but the shadow is its child: the first clone is buried.
  std::size_t children = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto pid = number<pid_t>(entry.path().filename().string());
    const auto status = pid ? open_process(*pid) : Result<UniqueFd>(Errc::child_died);
    const auto text = status ? read_at(status->get(), "status", 1u << 20) : status.error();
    if (text && field(view(*text), "PPid") == std::to_string(target)) ++children;
  }
  EXPECT_EQ(children, 1u);
  ::kill(target, SIGKILL);
  ::waitpid(target, nullptr, 0);
  ::munmap(memory, bytes);
  ::close(told[0]);
  ::close(told[1]);
}

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
