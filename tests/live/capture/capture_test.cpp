// SPDX-License-Identifier: MIT
// Programs that never heard of mitosis are prepared by their pid, and resumed on another machine.
// World: user.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <testbed/proc.hpp>
#include <testbed/two_machines.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "../../unit/user/tools_command.hpp"
#include "../puppet.hpp"

namespace mitosis::live {
namespace {

/// What counters.py answers: the word that it was told, and how far each thread has come.
struct Counts {
  std::string word;
  std::vector<long> threads;
};
Counts counts(const std::string& line) {
  Counts all;
  std::istringstream text(line);
  text >> all.word;
  for (long count = 0; text >> count;) all.threads.push_back(count);
  return all;
}
/// True where each thread of `later` is further than in `earlier`.
bool all_further(const Counts& earlier, const Counts& later) {
  if (earlier.threads.empty() || earlier.threads.size() != later.threads.size()) return false;
  for (std::size_t i = 0; i < later.threads.size(); ++i) {
    if (later.threads[i] <= earlier.threads[i]) return false;
  }
  return true;
}

class Capture : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "network namespaces and agents need root";
    auto machines = testbed::TwoMachines::create({MITOSIS_COMMAND, "mitosis-capture", {}});
    ASSERT_TRUE(machines) << describe(machines.error());
    machines_ = std::make_unique<testbed::TwoMachines>(std::move(*machines));
    key_file_ = machines_->directory().file("key");
    // Ordinary users call agents, too, and start what they find there.
    ::chmod(machines_->directory().path().c_str(), 0755);
    command_ = copy_for_all(MITOSIS_COMMAND);
    counters_ = copy_for_all(COUNTERS);
  }
  std::string copy_for_all(const std::string& path) {
    namespace fs = std::filesystem;
    const fs::path copy = fs::path(machines_->directory().path()) / fs::path(path).filename();
    fs::copy_file(path, copy);
    fs::permissions(copy, fs::perms(0755));
    return copy;
  }
  /// As after a crash of the machine's agent.
  Result<void> start_agent_anew() {
    testbed::AgentSpec spec;
    spec.command = MITOSIS_COMMAND;
    spec.machine = testbed::parent_machine;
    spec.directory = machines_->directory().file("1");
    std::ifstream(spec.directory + "/secret") >> spec.secret;
    spec.network = machines_->networks().parent.fd();
    // It waits for the killed one's guard, which listens until it has ended what that one served.
    auto agent = testbed::AgentProcess::start(spec);
    if (!agent) return agent.error();
    machines_->parent_agent() = std::move(*agent);
    return {};
  }
  Puppet start(int threads, std::vector<std::string> as = {}) {
    as.insert(as.end(), {"/usr/bin/python3", "-B", counters_, std::to_string(threads)});
    return Puppet::start(std::move(as), {}, machines_->networks().parent.fd());
  }
  tools::Outcome prepare(int pid, const std::string& handler, std::vector<std::string> as = {}) {
    as.insert(as.end(),
              {command_, "prepare", "--pid", std::to_string(pid), "--handler", handler, "--key-out",
               key_file_, "--json", "--socket", machines_->parent_agent().socket()});
    return tools::run_program(std::move(as), {});
  }
  Puppet child(const std::string& handler) {
    return Puppet::start({MITOSIS_COMMAND, "resume", "1", handler, "--key-file", key_file_,
                          "--socket", machines_->child_agent().socket()},
                         {}, machines_->networks().child.fd());
  }
  /// Each of its threads comes further, without end.
  static void expect_well(Puppet& program) {
    const Counts before = counts(program.ask("before"));
    ASSERT_EQ(before.word, "before");
    Counts after;
    for (int i = 0; i < 1000 && !all_further(before, after); ++i) {
      ::usleep(5'000);
      after = counts(program.ask("after"));
    }
    EXPECT_TRUE(all_further(before, after));
  }
  void expect_no_shadow_but(std::size_t wanted, int pid) const {
    std::size_t shadows = 0;
    for (const int child : testbed::children_of(pid)) shadows += testbed::state_of(child) != 'Z';
    EXPECT_EQ(shadows, wanted);
  }

  std::unique_ptr<testbed::TwoMachines> machines_;
  std::string key_file_, command_, counters_;
};

TEST_F(Capture, AChildHasAllThreadsAndBothGoOn) {
  for (const int threads : {0, 4, 150}) {
    SCOPED_TRACE(threads);
    Puppet parent = start(threads);
    const Counts before = counts(parent.ask("before"));
    ASSERT_EQ(before.threads.size(), static_cast<std::size_t>(threads));
    const std::string handler = std::to_string(100 + threads);
    const tools::Outcome prepared = prepare(parent.process().pid(), handler);
    ASSERT_EQ(prepared.status, 0) << prepared.err;
    EXPECT_NE(prepared.out.find("\"threads\":" + std::to_string(threads + 1)), std::string::npos)
        << prepared.out;
    for (int i = 0; i < 2; ++i) {
      Puppet resumed = child(handler);
      const Counts there = counts(resumed.ask("there"));
      ASSERT_EQ(there.word, "there");
      ASSERT_EQ(there.threads.size(), before.threads.size());
      for (std::size_t k = 0; k < there.threads.size(); ++k) {
        EXPECT_GE(there.threads[k], before.threads[k]);
      }
      if (threads > 0) expect_well(resumed);
    }
    if (threads > 0) expect_well(parent);
    expect_no_shadow_but(1, parent.process().pid());
  }
}

TEST_F(Capture, TheProgramRunsOnWhenTheAgentIsKilled) {
  Puppet parent = start(20);
  ASSERT_EQ(counts(parent.ask("there")).word, "there");
  for (int i = 0; i < 15; ++i) {
    // A prepare that is somewhere in the middle, or just not there yet, or over.
    testbed::ProcessSpec spec;
    spec.argv = {MITOSIS_COMMAND, "prepare",
                 "--pid",         std::to_string(parent.process().pid()),
                 "--handler",     std::to_string(i + 1),
                 "--socket",      machines_->parent_agent().socket()};
    auto asks = testbed::Process::start(spec);
    ASSERT_TRUE(asks);
    ::usleep(static_cast<useconds_t>(3'000 + 2'000 * i));
    const int keeper = machines_->parent_agent().process().pid();
    for (const int worker : testbed::children_of(keeper)) ::kill(worker, SIGKILL);
    ::kill(keeper, SIGKILL);
    (void)asks->wait(Clock::now() + patience);
    expect_well(parent);
    const auto anew = start_agent_anew();
    ASSERT_TRUE(anew.ok()) << describe(anew.error());
  }
  // Nobody is left: not the capturers, not the shadows.
  const auto alone = [&] {
    const auto children = testbed::children_of(parent.process().pid());
    return std::all_of(children.begin(), children.end(),
                       [](int child) { return testbed::state_of(child) == 'Z'; });
  };
  for (int i = 0; i < 1000 && !alone(); ++i) ::usleep(10'000);
  EXPECT_TRUE(alone());
  EXPECT_EQ(prepare(parent.process().pid(), "99").status, 0) << "and nobody traces it";
}

TEST_F(Capture, APidThatNobodyHasAndAZombieAreRefusedAsWhatTheyAre) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_GT(child, 0);
  siginfo_t ended = {};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
  const tools::Outcome zombie = prepare(child, "7");
  EXPECT_EQ(zombie.status, 1);
  EXPECT_TRUE(tools::contains(zombie.err, "it has exited")) << zombie.err;
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  const tools::Outcome gone = prepare(child, "7");
  EXPECT_EQ(gone.status, 1);
  EXPECT_TRUE(tools::contains(gone.err, "there is no process " + std::to_string(child)))
      << gone.err;
}

TEST_F(Capture, OnlyWhomPtraceLetsTraceIt) {
  const std::vector<std::string> nobody = {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
                                           "--clear-groups"};
  const std::vector<std::string> somebody = {"/usr/bin/setpriv", "--reuid=54321", "--regid=54321",
                                             "--clear-groups"};
  Puppet of_root = start(2), of_nobody = start(2, nobody);
  ASSERT_EQ(counts(of_root.ask("there")).word, "there");
  ASSERT_EQ(counts(of_nobody.ask("there")).word, "there");
  // They write no key file in root's directory: what is refused is refused for its pid.
  const auto as = [&](std::vector<std::string> user, int pid) {
    user.insert(user.end(), {command_, "prepare", "--pid", std::to_string(pid), "--handler", "7",
                             "--socket", machines_->parent_agent().socket()});
    return tools::run_program(std::move(user), {});
  };
  for (const auto& [user, pid] : {std::pair{nobody, of_root.process().pid()},
                                  std::pair{somebody, of_nobody.process().pid()}}) {
    const tools::Outcome refused = as(user, pid);
    EXPECT_EQ(refused.status, 1);
    EXPECT_NE(refused.err.find("ptrace"), std::string::npos) << refused.err;
  }
  expect_well(of_root);
  expect_well(of_nobody);
  const tools::Outcome own = as(nobody, of_nobody.process().pid());
  EXPECT_EQ(own.status, 0) << own.err;
  EXPECT_EQ(
      tools::run_command({"reclaim", "7", "--socket", machines_->parent_agent().socket()}).status,
      0);
  EXPECT_EQ(prepare(of_nobody.process().pid(), "8").status, 0) << "root may";
}

}  // namespace
}  // namespace mitosis::live
