// SPDX-License-Identifier: MIT
// Programs of many threads come back with all of them. World: user.
// What a thread has to find is checked by the program itself: restore_threads_parent.c.
#include "restore_fixture.hpp"

#include <sys/resource.h>

#include <mitosis/fork/user/agent/namespaces.hpp>

namespace mitosis::restore::test {
namespace {

/// A stopped program with `threads` threads besides its first one.
class RestoreThreads : public RestoreFixture {
 protected:
  void SetUp() override {
    RestoreFixture::SetUp();
    if (!IsSkipped()) parent_.reset();
  }
  void start(int threads, std::vector<std::string> more = {}) {
    const std::string facts_path = directory_ + "/facts";
    std::vector<std::string> argv = {RESTORE_THREADS_PARENT, facts_path, std::to_string(threads)};
    argv.insert(argv.end(), more.begin(), more.end());
    parent_ = std::make_unique<CapturedProgram>(argv, directory_);
    ASSERT_TRUE(parent_->stopped());
    const std::string facts = slurp(facts_path);
    threads_.resize(static_cast<std::size_t>(threads));
    ASSERT_GE(facts.size(), sizeof facts_ + threads_.size() * sizeof(ThreadFacts));
    std::memcpy(&facts_, facts.data(), sizeof facts_);
    std::memcpy(threads_.data(), facts.data() + sizeof facts_,
                threads_.size() * sizeof(ThreadFacts));
  }
  [[nodiscard]] DescriptorBuilder describe_threads() const {
    return parent_->describe(&facts_, threads_);
  }
  std::vector<ThreadFacts> threads_;
};

TEST_F(RestoreThreads, AFewGoOn) {
  start(5);
  for (const bool cache : {false, true}) {
    TestAgent agent(*parent_, describe_threads().finish(), {.cache_local = cache});
    EXPECT_RESTORED(agent, resume(agent));
  }
}

TEST_F(RestoreThreads, SoDo150AgainAndAgain) {
  start(150);
  const auto bytes = describe_threads().finish();
  for (int i = 0; i < 5; ++i) {
    TestAgent agent(*parent_, bytes);
    EXPECT_RESTORED(agent, resume(agent));
  }
}

TEST_F(RestoreThreads, InAPidNamespaceTheyHaveTheirNumbers) {
  if (::getuid() != 0) GTEST_SKIP() << "needs root";
  start(5, {"same"});
  for (const uid_t user : {0u, 61234u}) {
    TestAgent agent(*parent_, describe_threads().finish());
    const int status = in_launcher(agent, [&] {
      const auto made =
          agent::fork_into_namespaces({.pid = static_cast<std::uint32_t>(parent_->pid())});
      if (made.pid < 0) return 90;
      if (made.pid == 0) {
        ::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
        if (user != 0 && (::setresuid(user, user, user) != 0 ||
                          !agent::keep_one_capability(CAP_CHECKPOINT_RESTORE))) {
          ::_exit(91);
        }
        ResumeRequest request;
        request.same_numbers = true;
        const auto refused = take_over(local::ChannelView(agent.socket()), request);
        std::fprintf(stderr, "%s\n", describe(refused.error()).c_str());
        ::_exit(92);
      }
      int child = 0;
      ::waitpid(made.pid, &child, 0);
      return WIFEXITED(child) ? WEXITSTATUS(child) : 93;
    });
    EXPECT_RESTORED(agent, status);
  }
}

TEST_F(RestoreThreads, EachHasItsOwnSchedulingAndPendingSignals) {
  start(5, {"own"});
  auto b = describe_threads();
  b.scheduling.resize(6);
  b.scheduling[3].nice = 5;  // [0] is the first thread
  descriptor::PendingSignalRecord pending = {};
  pending.thread = 3;
  pending.signal = static_cast<std::uint32_t>(SIGRTMIN + 2);
  siginfo_t info = {};
  info.si_signo = SIGRTMIN + 2;
  info.si_code = SI_QUEUE;
  std::memcpy(pending.info, &info, sizeof info);
  b.pending_signals.push_back(pending);
  TestAgent agent(*parent_, b.finish());
  EXPECT_RESTORED(agent, resume(agent));
}

TEST_F(RestoreThreads, AThreadThatCannotBeMadeIsReportedAndEndsTheProcess) {
  start(5);
  if (::getuid() != 0) GTEST_SKIP() << "needs a user with no other processes";
  TestAgent agent(*parent_, describe_threads().finish());
  testing::internal::CaptureStderr();
  const int status = in_launcher(agent, [&agent] {
    const rlimit few = {3, 3};
    if (::setrlimit(RLIMIT_NPROC, &few) != 0 || ::setresuid(61234, 61234, 61234) != 0) return 1;
    return become_child(agent);
  });
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), exit_not_restored);
  ASSERT_TRUE(agent.failure()) << said;
  EXPECT_EQ(agent.failure()->os_errno, EAGAIN);
  EXPECT_STREQ(agent.failure()->step.c_str(), "start its threads");
}

TEST_F(RestoreThreads, WhatTheKernelWouldNotTakeIsRefused) {
  start(2);
  const auto refusal = [&](const std::function<void(descriptor::ThreadRecord&)>& spoil) {
    auto builder = describe_threads();
    spoil(builder.threads[2]);
    const auto bytes = builder.finish();
    const auto view = DescriptorView::parse(bytes);
    if (!view) return std::string("not parsed");
    const auto checked = check_threads(*view);
    return checked ? std::string() : std::string(checked.error().subject.c_str());
  };
  using Record = descriptor::ThreadRecord;
  EXPECT_EQ(refusal([](Record&) {}), "");
  EXPECT_EQ(refusal([](Record& t) { t.rseq += 4; }), "threads[2].rseq: not aligned");
  EXPECT_EQ(refusal([](Record& t) { t.rseq = 4096; }), "threads[2].rseq: not in writable memory");
  EXPECT_EQ(refusal([](Record& t) { t.rseq_bytes = 8; }), "threads[2].rseq_bytes: below 32");
  EXPECT_EQ(refusal([](Record& t) { t.robust_list_bytes = 25; }),
            "threads[2].robust_list_bytes: not 24");
  EXPECT_EQ(refusal([](Record& t) { t.registers[arch::reg_gs_base] = ~std::uint64_t{0}; }),
            "threads[2].registers: a thread pointer");
  EXPECT_EQ(refusal([](Record& t) { t.registers[arch::reg_cs] = 0x23; }), "it is a 32-bit program");
}

}  // namespace
}  // namespace mitosis::restore::test
