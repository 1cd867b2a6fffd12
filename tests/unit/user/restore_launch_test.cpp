// SPDX-License-Identifier: MIT
// take_over(), end to end: a captured program goes on in another process. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/restore/launch.hpp>

#include "restore_agent.hpp"

#include <cstdlib>

namespace mitosis::restore::test {
namespace {

/// A directory of its own, and a parent captured there.
class RestoreLaunch : public testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/userfaultfd", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/userfaultfd";
    char name[] = "/tmp/mitosis-restore-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    std::ofstream(directory_ + "/data") << "abcdefgh";
    parent_ = std::make_unique<CapturedProgram>(
        std::vector<std::string>{RESTORE_PARENT, directory_ + "/facts", directory_ + "/data"},
        directory_);
    ASSERT_TRUE(parent_->stopped());
    const std::string facts = slurp(directory_ + "/facts");
    ASSERT_EQ(facts.size(), sizeof facts_);
    std::memcpy(&facts_, facts.data(), sizeof facts_);
  }
  void TearDown() override {
    parent_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }

  /// Forks a launcher, has it taken over, and returns its wait status.
  int resume(TestAgent& agent, const char* launcher = nullptr) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      if (launcher != nullptr) {
        const int fd = ::fcntl(agent.socket(), F_DUPFD, 5);
        ::execl(launcher, launcher, std::to_string(fd).c_str(), nullptr);
        ::_exit(4);
      }
      const local::ChannelView channel(agent.socket());
      const auto result = take_over(channel, {});
      std::fprintf(stderr, "%s\n", describe(result.error()).c_str());
      ::_exit(3);
    }
    agent.start();
    int status = 0;
    ::waitpid(pid, &status, 0);
    agent.finish();
    return status;
  }

  std::string directory_;
  std::unique_ptr<CapturedProgram> parent_;
  Facts facts_;
};

TEST_F(RestoreLaunch, AProgramGoesOnInAnotherProcess) {
  TestAgent agent(*parent_, parent_->describe(&facts_).finish());
  const int status = resume(agent);
  ASSERT_TRUE(WIFEXITED(status)) << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  if (agent.failure()) FAIL() << describe(*agent.failure());
}

}  // namespace
}  // namespace mitosis::restore::test
