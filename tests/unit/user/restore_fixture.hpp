// SPDX-License-Identifier: MIT
// RestoreFixture: a captured parent in a directory of its own, and processes to become its child.
// World: user (tests).
#pragma once

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/restore/launch.hpp>

#include "restore_agent.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

namespace mitosis::restore::test {

class RestoreFixture : public testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/userfaultfd", R_OK | W_OK) != 0) GTEST_SKIP() << "no /dev/userfaultfd";
    char name[] = "/tmp/mitosis-restore-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    std::filesystem::permissions(directory_, std::filesystem::perms(0755));
    std::ofstream(data()) << "abcdefgh";
    std::filesystem::permissions(data(), std::filesystem::perms(0666));
    std::filesystem::copy(RESTORE_PARENT, program());
    parent_ = std::make_unique<CapturedProgram>(
        std::vector<std::string>{program(), directory_ + "/facts", data()}, directory_);
    ASSERT_TRUE(parent_->stopped());
    const std::string facts = slurp(directory_ + "/facts");
    ASSERT_EQ(facts.size(), sizeof facts_);
    std::memcpy(&facts_, facts.data(), sizeof facts_);
  }
  void TearDown() override {
    parent_.reset();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  [[nodiscard]] std::string data() const { return directory_ + "/data"; }
  [[nodiscard]] std::string program() const { return directory_ + "/program"; }
  [[nodiscard]] DescriptorBuilder describe_parent() const { return parent_->describe(&facts_); }

  /// Runs `body` in a process of its own, with the agent serving; returns its wait status.
  static int in_launcher(TestAgent& agent, const std::function<int()>& body) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::alarm(30);
      ::_exit(body());
    }
    agent.start();
    int status = 0;
    ::waitpid(pid, &status, 0);
    agent.finish();
    return status;
  }
  /// Becomes a child; returns only where that was refused.
  static int become_child(const TestAgent& agent) {
    const local::ChannelView channel(agent.socket());
    std::fprintf(stderr, "%s\n", describe(take_over(channel, {}).error()).c_str());
    return refused;
  }
  static int resume(TestAgent& agent) {
    return in_launcher(agent, [&agent] { return become_child(agent); });
  }
  static constexpr int refused = 77;

  std::string directory_;
  std::unique_ptr<CapturedProgram> parent_;
  Facts facts_;
};

/// The child has run to its end and found everything in place.
#define EXPECT_RESTORED(agent, wait_status)                                   \
  do {                                                                        \
    const int status_ = (wait_status);                                        \
    EXPECT_TRUE(WIFEXITED(status_)) << "signal " << WTERMSIG(status_);        \
    EXPECT_EQ(WEXITSTATUS(status_), 0) << "check number in restore_parent.c"; \
    EXPECT_FALSE((agent).failure()) << describe(*(agent).failure());          \
  } while (false)

}  // namespace mitosis::restore::test
