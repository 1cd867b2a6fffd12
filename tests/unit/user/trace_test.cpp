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

#include "trace_case.hpp"

namespace mitosis::capture {
namespace {

using test::Agrees;
using test::all_threads;
using test::FakeAgent;
using test::lifeline;
using test::Target;
using test::wait_for_threads;

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

}  // namespace
}  // namespace mitosis::capture
