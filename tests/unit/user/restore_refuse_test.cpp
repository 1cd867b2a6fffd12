// SPDX-License-Identifier: MIT
// Resumes that fail: each is told by name, and the launcher is as it was. World: user.
#include "restore_fixture.hpp"

#include <sys/mman.h>

#include <thread>

namespace mitosis::restore::test {
namespace {

class RestoreRefuse : public RestoreFixture {
 protected:
  /// The error with which a launcher is refused, as a sentence and its code.
  struct Refusal {
    Errc code;
    char sentence[512];
  };
  Refusal refusal(std::vector<std::uint8_t> descriptor, AgentOptions options = {}) {
    TestAgent agent(*parent_, std::move(descriptor), options);
    void* const shared =
        ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    auto* const told = static_cast<Refusal*>(shared);
    const int status = in_launcher(agent, [&] {
      const Error error = take_over(local::ChannelView(agent.socket()), {}).error();
      told->code = error.code;
      describe(error).copy(told->sentence, sizeof told->sentence - 1);
      return refused;
    });
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == refused);
    const Refusal copy = *told;
    ::munmap(shared, page_size);
    return copy;
  }
};

#define EXPECT_REFUSED(refused_as, expected_code, part)                               \
  do {                                                                                \
    const Refusal r_ = (refused_as);                                                  \
    EXPECT_EQ(r_.code, expected_code) << r_.sentence;                                 \
    EXPECT_NE(std::string(r_.sentence).find(part), std::string::npos) << r_.sentence; \
  } while (false)

TEST_F(RestoreRefuse, AMissingFileIsNamedWithItsNumber) {
  const auto bytes = describe_parent().finish();
  std::filesystem::remove(data());
  EXPECT_REFUSED(refusal(bytes), Errc::file_missing, "descriptor 3: " + data());
}

TEST_F(RestoreRefuse, SoIsOneThatIsSomethingElseHere) {
  const auto bytes = describe_parent().finish();
  std::filesystem::remove(data());
  ASSERT_EQ(::mkfifo(data().c_str(), 0666), 0);  // opening one would wait
  EXPECT_REFUSED(refusal(bytes), Errc::file_missing, "of another kind");
}

TEST_F(RestoreRefuse, AMissingWorkingDirectory) {
  auto builder = describe_parent();
  builder.mm.cwd = builder.string("/no/such/place");
  EXPECT_REFUSED(refusal(builder.finish()), Errc::file_missing, "/no/such/place");
}

TEST_F(RestoreRefuse, ATruncatedDescriptor) {
  auto bytes = describe_parent().finish();
  bytes.resize(bytes.size() - 8);
  EXPECT_REFUSED(refusal(bytes), Errc::bad_descriptor, "total_bytes");
}

TEST_F(RestoreRefuse, AnAgentThatCannotServe) {
  EXPECT_REFUSED(refusal(describe_parent().finish(), {.refuse_adopt = true}), Errc::budget_exceeded,
                 "memory budget");
}

TEST_F(RestoreRefuse, ALauncherWithThreads) {
  TestAgent agent(*parent_, describe_parent().finish());
  const int status = in_launcher(agent, [&agent] {
    std::thread([] { ::pause(); }).detach();
    const Error error = take_over(local::ChannelView(agent.socket()), {}).error();
    return error.code == Errc::invalid_argument ? refused : 1;
  });
  EXPECT_EQ(WEXITSTATUS(status), refused);
}

TEST_F(RestoreRefuse, NothingIsLeftBehind) {
  // Refused as late as can be, twice: the second time must not find anything of the first's.
  const AgentOptions options = {.refuse_adopt = true};
  TestAgent agent(*parent_, describe_parent().finish(), options);
  const int status = in_launcher(agent, [&] {
    const auto state = [] {
      std::string all;
      for (const auto& fd : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;  // the iterator's own
        all += fd.path().string() + std::filesystem::read_symlink(fd, gone).string() + "\n";
      }
      std::istringstream maps(slurp("/proc/self/maps"));
      for (std::string line; std::getline(maps, line);) {
        // The restorer's memory is low, the descriptor's has a name; the rest is the allocator's.
        const bool low = std::stoull(line, nullptr, 16) < 0x400000;
        if (low || line.find("descriptor") != std::string::npos) all += line + "\n";
      }
      sigset_t mask;
      ::sigprocmask(SIG_SETMASK, nullptr, &mask);
      all.append(reinterpret_cast<const char*>(&mask), 8);
      return all;
    };
    (void)take_over(local::ChannelView(agent.socket()), {});
    const std::string before = state();
    if (take_over(local::ChannelView(agent.socket()), {}).ok()) return 1;
    return state() == before ? refused : 2;
  });
  EXPECT_EQ(WEXITSTATUS(status), refused);
}

TEST_F(RestoreRefuse, TheAgentsLastWordEndsTheProcess) {
  TestAgent agent(*parent_, describe_parent().finish(), {.say_go = false});
  const int status = resume(agent);
  EXPECT_TRUE(agent.mapped());
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), exit_not_restored);
}

TEST_F(RestoreRefuse, SoDoesTheAgentsDeath) {
  TestAgent agent(*parent_, describe_parent().finish(), {.die_before_go = true});
  const int status = resume(agent);
  EXPECT_TRUE(agent.mapped());
  EXPECT_EQ(WEXITSTATUS(status), exit_not_restored);
}

TEST_F(RestoreRefuse, AFailureAfterThePointOfNoReturnIsReported) {
  auto builder = describe_parent();
  builder.mm.start_code = 0;  // the kernel takes only addresses that can be mapped
  TestAgent agent(*parent_, builder.finish());
  testing::internal::CaptureStderr();
  const int status = resume(agent);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), exit_not_restored);
  EXPECT_EQ(said,
            "mitosis: resume: restore the memory's attributes: failed in the new child; "
            "the agent's log says why\n");
  ASSERT_TRUE(agent.failure());
  EXPECT_EQ(agent.failure()->code, Errc::system_call_failed);
  EXPECT_EQ(agent.failure()->os_errno, EINVAL);
  EXPECT_STREQ(agent.failure()->step.c_str(), "restore the memory's attributes");
}

}  // namespace
}  // namespace mitosis::restore::test
