// SPDX-License-Identifier: MIT
// The `mitosis` command between two machines: resume and spawn as a shell sees them, the demo.
// World: user.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <testbed/two_machines.hpp>

#include <nlohmann/json.hpp>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "../../unit/user/tools_command.hpp"

namespace mitosis::tools {
namespace {

/// Prepares itself; its children do what the line on their standard input says.
const char* const program = R"(
import os, signal, sys, mitosis
key = mitosis.prepare(73)
if key is None:
    what = sys.stdin.readline().split()
    print("pid", os.getpid(), *what, flush=True)
    if what[0] == "wait":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(9))
        signal.pause()
    if what[0] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(int(what[1]))
with open(sys.argv[1] + ".new", "w") as file:
    file.write(key)
os.rename(sys.argv[1] + ".new", sys.argv[1])
signal.pause()
)";

UniqueFd file_of(const std::string& text) {
  UniqueFd file(::memfd_create("text", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(::lseek(file.get(), 0, SEEK_SET), 0);
  return file;
}

class Command : public testing::Test {
 protected:
  static constexpr std::chrono::seconds patience{30};

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "network namespaces and agents need root";
    auto machines = testbed::TwoMachines::create({MITOSIS_COMMAND, "mitosis-test", {}});
    ASSERT_TRUE(machines) << describe(machines.error());
    machines_ = std::make_unique<testbed::TwoMachines>(std::move(*machines));
    key_file_ = machines_->directory().file("key");
    const std::string script = machines_->directory().file("program.py");
    std::ofstream(script) << program;
    testbed::ProcessSpec spec;
    spec.argv = {"/usr/bin/python3", script, key_file_};
    spec.environment = {"MITOSIS_SOCKET=" + machines_->parent_agent().socket(),
                        "MITOSIS_LIBRARY=" MITOSIS_LIBRARY, "PYTHONPATH=" MITOSIS_PYTHON,
                        "PYTHONDONTWRITEBYTECODE=1"};
    spec.network = machines_->networks().parent.fd();
    auto parent = testbed::Process::start(spec);
    ASSERT_TRUE(parent) << describe(parent.error());
    parent_ = std::make_unique<testbed::Process>(std::move(*parent));
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (::access(key_file_.c_str(), R_OK) != 0) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
      ASSERT_FALSE(parent_->wait(soon)) << "the parent ended";
    }
  }

  struct Run {
    testbed::Process process;
    UniqueFd out;
    int status() {
      const auto ended = process.wait(std::chrono::steady_clock::now() + patience);
      return ended ? testbed::shell_status(*ended) : -1;
    }
    std::string said() const { return detail::whole(out.get()); }
  };
  /// `mitosis ARGUMENTS...` on the children's machine, with `input`.
  Run start(const std::vector<std::string>& arguments, const std::string& input) {
    return start_at(machines_->child_agent().socket(), arguments, input);
  }
  /// The same of whichever agent listens at `socket`.
  Run start_at(const std::string& socket, const std::vector<std::string>& arguments,
               const std::string& input) {
    const UniqueFd in = file_of(input);
    UniqueFd out(::memfd_create("out", MFD_CLOEXEC));
    testbed::ProcessSpec spec;
    spec.argv = {MITOSIS_COMMAND};
    spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
    spec.argv.insert(spec.argv.end(), {"--socket", socket});
    spec.network = machines_->networks().child.fd();
    spec.in = in.get();
    spec.out = out.get();
    auto process = testbed::Process::start(spec);
    EXPECT_TRUE(process);
    return {std::move(*process), std::move(out)};
  }

  std::unique_ptr<testbed::TwoMachines> machines_;
  std::unique_ptr<testbed::Process> parent_;
  std::string key_file_;
};

TEST_F(Command, ResumeTakesOverPidStreamsAndStatus) {
  Run run = start({"resume", "1", "73", "--key-file", key_file_}, "exit 42\n");
  EXPECT_EQ(run.status(), 42);
  EXPECT_EQ(run.said(), "pid " + std::to_string(run.process.pid()) + " exit 42\n");
  EXPECT_EQ(start({"resume", "1", "73", "--key-file", key_file_}, "kill\n").status(),
            128 + SIGKILL);
}

TEST_F(Command, ARefusedResumeIs125AndLeavesNothing) {
  const std::string wrong(32, '0');
  Run refused = start({"resume", "1", "73", "--key", wrong}, "exit 0\n");
  EXPECT_EQ(refused.status(), 125);
  EXPECT_EQ(refused.said(), "");
  Run unknown = start({"resume", "1", "74", "--key-file", key_file_}, "exit 0\n");
  EXPECT_EQ(unknown.status(), 125);
  Run list = start({"ps", "--json"}, "");
  EXPECT_EQ(list.status(), 0);
  EXPECT_EQ(nlohmann::json::parse(list.said()).size(), 0u);
}

TEST_F(Command, OnesOwnHandlerNeedsNoKeyOnItsMachineButDoesElsewhere) {
  const std::string& at_home = machines_->parent_agent().socket();
  EXPECT_EQ(start_at(at_home, {"resume", "1", "73"}, "exit 42\n").status(), 42);
  EXPECT_EQ(start_at(at_home, {"spawn", "1", "73"}, "exit 7\n").status(), 7);
  EXPECT_EQ(start({"resume", "1", "73"}, "exit 0\n").status(), 125);
}

TEST_F(Command, StatsTellWhatEndedChildrenFetched) {
  EXPECT_EQ(start({"resume", "1", "73", "--key-file", key_file_}, "exit 42\n").status(), 42);
  // The pager hears of the child's end at the same time as we do.
  const auto deadline = std::chrono::steady_clock::now() + patience;
  nlohmann::json ended;
  do {
    Run stats = start({"stats", "--json"}, "");
    ASSERT_EQ(stats.status(), 0);
    ended = nlohmann::json::parse(stats.said())["ended"];
  } while (ended["children"] != 1 && std::chrono::steady_clock::now() < deadline);
  EXPECT_EQ(ended["children"], 1);
  EXPECT_GT(ended["pages_fetched"], 0);
  EXPECT_GT(ended["bytes_fetched"], 4096);
}

TEST_F(Command, SpawnHandsItsStreamsOverAndExitsAsTheChildDoes) {
  Run run = start({"spawn", "1", "73", "--key-file", key_file_}, "exit 7\n");
  EXPECT_EQ(run.status(), 7);
  EXPECT_TRUE(contains(run.said(), "exit 7\n")) << run.said();
  EXPECT_EQ(start({"spawn", "1", "73", "--key-file", key_file_}, "kill\n").status(), 128 + SIGKILL);
}

TEST_F(Command, SpawnPassesSignalsOn) {
  Run run = start({"spawn", "1", "73", "--key-file", key_file_}, "wait\n");
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!contains(run.said(), "wait\n")) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    const auto soon = std::chrono::steady_clock::now() + std::chrono::milliseconds(5);
    ASSERT_FALSE(run.process.wait(soon)) << run.said();
  }
  // The child may not have its handler yet: then the signal itself ends it.
  run.process.signal(SIGTERM);
  const int status = run.status();
  EXPECT_TRUE(status == 9 || status == 128 + SIGTERM) << status;
}

TEST_F(Command, PsNamesTheParentItselfEvenOnceItIsGone) {
  const std::string& at_home = machines_->parent_agent().socket();
  const auto listed = [&] {
    return nlohmann::json::parse(run_command({"ps", "--json", "--socket", at_home}).out).at(0);
  };
  const auto running = listed();
  EXPECT_EQ(running["pid"], parent_->pid());
  EXPECT_EQ(running["name"], "python3");
  parent_->signal(SIGKILL);
  ASSERT_TRUE(parent_->wait(std::chrono::steady_clock::now() + patience));
  const auto gone = listed();
  EXPECT_EQ(gone["pid"], running["pid"]);
  EXPECT_EQ(gone["name"], "python3");
}

TEST_F(Command, AfterReclaimNobodyResumes) {
  const std::string parent_socket = machines_->parent_agent().socket();
  EXPECT_EQ(run_command({"reclaim", "73", "--socket", parent_socket}).status, 0);
  EXPECT_EQ(run_command({"reclaim", "73", "--socket", parent_socket}).status, 1);
  EXPECT_EQ(start({"resume", "1", "73", "--key-file", key_file_}, "exit 0\n").status(), 125);
}

TEST(Demo, ShowsThreeChildrenWithTheRightData) {
  if (::geteuid() != 0) GTEST_SKIP() << "network namespaces and agents need root";
  testbed::ProcessSpec spec;
  spec.argv = {MITOSIS_COMMAND, "demo", "--size", "16"};
  spec.environment = {"MITOSIS_LIBRARY=" MITOSIS_LIBRARY};
  auto demo = testbed::Process::start(spec);
  ASSERT_TRUE(demo);
  const auto ended = demo->wait(std::chrono::steady_clock::now() + std::chrono::seconds(60));
  ASSERT_TRUE(ended);
  EXPECT_EQ(testbed::shell_status(*ended), 0);
}

}  // namespace
}  // namespace mitosis::tools
