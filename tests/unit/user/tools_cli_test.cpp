// SPDX-License-Identifier: MIT
// The command line of `mitosis`: help, exit statuses, and what is said without an agent. World:
// user.
#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <testbed/temp_dir.hpp>

#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tools_command.hpp"

namespace mitosis::tools {
namespace {

const char* const key = "00112233445566778899aabbccddeeff";

class EachCommand : public testing::TestWithParam<const char*> {};

TEST_P(EachCommand, HelpsWithAnExample) {
  const Outcome help = run_command({GetParam(), "--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_TRUE(contains(help.out, std::string("mitosis ") + GetParam())) << help.out;
  EXPECT_TRUE(contains(help.out, "Example")) << help.out;
  EXPECT_TRUE(contains(run_command({"--help"}).out, std::string("  ") + GetParam()));
}

TEST_P(EachCommand, CallsAnUnknownOptionWrongUsage) {
  const Outcome wrong = run_command({GetParam(), "--no-such-option"});
  EXPECT_EQ(wrong.status, 2);
  EXPECT_TRUE(is_one_line(wrong.err, std::string("mitosis ") + GetParam() + ": ")) << wrong.err;
  EXPECT_TRUE(contains(wrong.err, "--help"));
}

INSTANTIATE_TEST_SUITE_P(Cli, EachCommand,
                         testing::Values("agent", "connect", "prepare", "resume", "spawn", "run",
                                         "ps", "reclaim", "policies", "stats", "nil", "demo"),
                         [](const auto& info) { return std::string(info.param); });

struct Call {
  const char* name;
  std::vector<std::string> arguments;
  int status;
};
class WithoutAgent : public testing::TestWithParam<Call> {};

TEST_P(WithoutAgent, SaysWhereItLookedAndWhatToDo) {
  const Outcome outcome = run_command(GetParam().arguments);
  EXPECT_EQ(outcome.status, GetParam().status);
  EXPECT_TRUE(is_one_line(outcome.err, std::string("mitosis ") + GetParam().name + ": "));
  EXPECT_TRUE(contains(outcome.err, no_agent)) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "`mitosis agent`")) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

INSTANTIATE_TEST_SUITE_P(
    Cli, WithoutAgent,
    testing::Values(Call{"connect", {"connect", "1", "10.0.0.1:7411"}, 1},
                    Call{"prepare", {"prepare", "--pid", "1", "--handler", "7"}, 1},
                    Call{"resume", {"resume", "1", "73", "--key", key}, 125},
                    Call{"spawn", {"spawn", "1", "73", "--key", key}, 1}, Call{"ps", {"ps"}, 1},
                    Call{"reclaim", {"reclaim", "1"}, 1}, Call{"stats", {"stats", "--json"}, 1},
                    Call{"nil", {"nil"}, 1}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Cli, NoKeyIsNoWrongUsageForTheHandlerMayBeOnesOwn) {
  const Outcome outcome = run_command({"resume", "1", "73"});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_TRUE(contains(outcome.err, no_agent)) << outcome.err;
}

TEST(Cli, WrongUsageIsTwoAndNamesTheArgument) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{}, "subcommand"},
      {{"fly"}, "`fly`"},
      {{"connect", "1"}, "ADDRESS"},
      {{"connect", "1", "host"}, "`host`"},
      {{"prepare", "--handler", "7"}, "--pid"},
      {{"prepare", "--handler", "7", "--pid", "python"}, "not in range 1 to 2147483647"},
      {{"prepare", "--handler", "7", "--pid", "0"}, "--pid"},
      {{"resume", "one", "73"}, "`one`"},
      {{"spawn", "1", "73", "--key", "short"}, "--key"},
      {{"spawn", "1", "73", "-n", "0"}, "--count"},
      {{"reclaim", "73", "--machine", "2"}, "key"},
      {{"agent"}, "--machine"},
      {{"agent", "-m", "1", "--memory-budget", "4X"}, "`4X`"},
      {{"agent", "-m", "1", "--peer", "2"}, "ID=HOST:PORT"},
      {{"agent", "-m", "1", "--policy", "rc+fast"}, "`fast`"},
      {{"agent", "-m", "1", "--policy", "dct+prefetch512"}, "prefetch127"},
      {{"agent", "-m", "1", "--peer", "1=10.0.0.1:7411"}, "this machine itself"},
      {{"agent", "-m", "1", "--peer", "2=a:1", "--peer", "2=b:1"}, "`2=b:1`"},
      {{"agent", "-m", "1", "--rdma-cm"}, "--rdma-cm: is of --fabric verbs"},
      {{"agent", "-m", "1", "--gid", "0"}, "--gid: is of --fabric verbs"},
      {{"agent", "-m", "1", "--page-deadline", "9ms"}, "--page-deadline"},
      {{"agent", "-m", "1", "--lease", "0s"}, "--lease"},
      {{"agent", "-m", "1", "--advertise", "10.0.0.1:0"}, "--advertise"},
      {{"demo", "--policy", "quick"}, "`quick`"},
      {{"prepare", "--pid", "1", "--handler", "7", "--policy", "quick"}, "`quick`"},
      {{"resume", "1", "73", "--policy", "quick"}, "`quick`"},
      {{"spawn", "1", "73", "--policy", "dct+prefetch512"}, "prefetch127"},
      {{"run", "--policy", "quick", "--", "true"}, "`quick`"},
  };
  for (const auto& [arguments, named] : cases) {
    const Outcome outcome = run_command(arguments);
    EXPECT_EQ(outcome.status, 2) << named;
    EXPECT_TRUE(is_one_line(outcome.err, "mitosis")) << named;
    EXPECT_TRUE(contains(outcome.err, named)) << outcome.err;
  }
}

TEST(Cli, TheKeyComesFromAFileOrTheEnvironmentToo) {
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  std::ofstream(dir->file("good")) << key << "\n";
  std::ofstream(dir->file("bad")) << "nearly-a-secret\n";
  // 125: it got as far as looking for the agent.
  EXPECT_EQ(run_command({"resume", "1", "73", "--key-file", dir->file("good")}).status, 125);
  EXPECT_EQ(run_command({"resume", "1", "73"}, {std::string("MITOSIS_KEY=") + key}).status, 125);
  const Outcome bad = run_command({"resume", "1", "73", "--key-file", dir->file("bad")});
  EXPECT_EQ(bad.status, 2);
  EXPECT_FALSE(contains(bad.err, "secret")) << bad.err;
  EXPECT_TRUE(contains(bad.err, dir->file("bad"))) << bad.err;
  const Outcome none = run_command({"resume", "1", "73", "--key-file", dir->file("none")});
  EXPECT_EQ(none.status, 2);
  EXPECT_TRUE(contains(none.err, "cannot be read (No such file or directory)")) << none.err;
  const Outcome endless = run_command({"resume", "1", "73", "--key-file", "/dev/zero"});
  EXPECT_EQ(endless.status, 2);
  EXPECT_TRUE(contains(endless.err, "/dev/zero holds")) << endless.err;
  const Outcome variable = run_command({"resume", "1", "73"}, {"MITOSIS_KEY=short"});
  EXPECT_EQ(variable.status, 2);
  EXPECT_TRUE(contains(variable.err, "$MITOSIS_KEY")) << variable.err;
}

TEST(Cli, WhatCannotBePrintedIsAFailure) {
  for (const char* where : {">/dev/full", ">&-"}) {
    const std::string script = std::string("exec \"$0\" policies --json ") + where;
    const Outcome full = run_program({"/bin/sh", "-c", script, MITOSIS_COMMAND}, {});
    EXPECT_EQ(full.status, 1) << where;
    EXPECT_TRUE(contains(full.err, "standard output")) << full.err;
  }
}

TEST(Cli, AnAgentThatMayOpenTooFewFilesDoesNotStart) {
  if (::geteuid() != 0) GTEST_SKIP() << "an agent needs root";
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  const Outcome outcome = run_program(
      {"/usr/bin/prlimit", "--nofile=40", MITOSIS_COMMAND, "agent", "-m", "1", "--listen",
       "127.0.0.1:0", "--socket", dir->file("socket"), "--ready-file", dir->file("ready")},
      {});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.err, "raise `ulimit -Hn`")) << outcome.err;
  EXPECT_NE(::access(dir->file("ready").c_str(), F_OK), 0);
}

TEST(Cli, AnAgentRemovesNothingThatIsNotItsSocket) {
  if (::geteuid() != 0) GTEST_SKIP() << "an agent needs root";
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  const std::string there = dir->file("there");
  std::ofstream(there) << "of somebody\n";
  const auto start = [&](std::vector<std::string> options) {
    const std::vector<std::string> first = {"agent", "-m", "1", "--listen", "127.0.0.1:0"};
    options.insert(options.begin(), first.begin(), first.end());
    return run_command(std::move(options));
  };
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--socket", there}, "another --socket"},
      {{"--socket", dir->file("socket"), "--fabric", "verbs", "--pool-socket", there},
       "another --pool-socket"},
      {{"--socket", dir->file("socket"), "--fabric", "verbs", "--pool-socket", dir->file("socket")},
       "is the agent's own (--socket)"},
  };
  for (const auto& [options, named] : cases) {
    const Outcome refused = start(options);
    EXPECT_EQ(refused.status, 1) << refused.err;
    EXPECT_TRUE(contains(refused.err, named)) << refused.err;
  }
  std::string kept;
  std::getline(std::ifstream(there), kept);
  EXPECT_EQ(kept, "of somebody");
}

TEST(Cli, APrepareThatFailsLeavesTheKeyFileAsItWas) {
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  const auto prepare = [](const std::string& file) {
    return run_command({"prepare", "--pid", "1", "--handler", "7", "--key-out", file});
  };
  const std::string earlier = dir->file("earlier"), fresh = dir->file("fresh");
  std::ofstream(earlier) << key << "\n";
  EXPECT_EQ(prepare(earlier).status, 1);
  std::string kept;
  std::ifstream(earlier) >> kept;
  EXPECT_EQ(kept, key);
  EXPECT_EQ(prepare(fresh).status, 1);
  EXPECT_NE(::access(fresh.c_str(), F_OK), 0);
  const Outcome nowhere = prepare(dir->file("none/key"));
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_TRUE(contains(nowhere.err, dir->file("none/key"))) << nowhere.err;
}

TEST(Cli, AKeyFileWithMoreThanAKeyIsRefusedByName) {
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  for (const char* junk : {"ab", "\n\nsecond line", " x", "\n0123456789abcdef0123456789abcdef\n"}) {
    std::ofstream(dir->file("key")) << key << junk;
    const Outcome refused = run_command({"reclaim", "73", "--key-file", dir->file("key")});
    EXPECT_EQ(refused.status, 2) << junk;
    EXPECT_TRUE(contains(refused.err, dir->file("key"))) << refused.err;
    EXPECT_FALSE(contains(refused.err, key)) << refused.err;
  }
}

TEST(Cli, AConfigurationFileIsCheckedLikeTheCommandLine) {
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  const auto with = [&](const std::string& text) {
    std::ofstream(dir->file("agent.toml")) << text;
    return run_command({"agent", "--config", dir->file("agent.toml")});
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"machine = 1\nmemroy-budget = \"4G\"\n", "memroy-budget"},
      {"machine = 1\nmemory-budget = \"4X\"\n", "`4X`"},
      {"[agent]\nmachine = 1\n", "[agent]"},
      {"lease = \"60s\"\n", "--machine"},
      {"machine = 1\nkeyless = \"maybe\"\n", "--keyless"},
  };
  for (const auto& [text, named] : cases) {
    const Outcome outcome = with(text);
    EXPECT_EQ(outcome.status, 2) << text;
    EXPECT_TRUE(contains(outcome.err, named)) << outcome.err;
  }
  EXPECT_EQ(run_command({"agent", "--config", dir->file("none")}).status, 2);
}

TEST(Cli, AnAgentThatCannotSayThatItIsReadyDoesNotStart) {
  if (::geteuid() != 0) GTEST_SKIP() << "an agent needs root";
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  const Outcome outcome =
      run_command({"agent", "-m", "1", "--listen", "127.0.0.1:0", "--socket", dir->file("socket"),
                   "--ready-file", dir->file("none/ready")});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.err, dir->file("none/ready"))) << outcome.err;
}

// `mitosis run` preloads our library into a program that was built without the sanitizer.
#ifdef __SANITIZE_ADDRESS__
#define MITOSIS_SKIP_WHERE_ASAN_MUST_BE_PRELOADED() \
  GTEST_SKIP() << "AddressSanitizer must be the first library of a program"
#else
#define MITOSIS_SKIP_WHERE_ASAN_MUST_BE_PRELOADED() (void)0
#endif

TEST(Cli, RunExitsAsItsProgramAndGivesItsArgumentsOn) {
  MITOSIS_SKIP_WHERE_ASAN_MUST_BE_PRELOADED();
  const Outcome said =
      run_command({"run", "--", "sh", "-c", "printf '%s --help' $1; exit 42", "sh", "-n"});
  EXPECT_EQ(said.out, "-n --help");
  EXPECT_EQ(said.status, 42);
  EXPECT_EQ(run_command({"run", "no-such-program"}).status, 127);
  EXPECT_EQ(run_command({"run", "/no/such/program"}).status, 127);
}

TEST(Cli, RunWithoutAnAgentFailsWhereTheDeviceIsOpened) {
  MITOSIS_SKIP_WHERE_ASAN_MUST_BE_PRELOADED();
  const Outcome outcome = run_command({"run", "--", "/usr/bin/python3", "-c",
                                       "open('/etc/hostname'); open('/dev/mitosis-syscalls')"});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.err, "start one with `mitosis agent`")) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "No such device or address: '/dev/mitosis-syscalls'"))
      << outcome.err;
}

TEST(Cli, RunRefusesWhatWouldNotBePreloadedByName) {
  auto dir = testbed::TempDir::create("mitosis-test");
  ASSERT_TRUE(dir);
  const auto make = [&](const char* name, const std::string& bytes, mode_t mode) {
    const std::string path = dir->file(name);
    std::ofstream(path) << bytes;
    EXPECT_EQ(::chmod(path.c_str(), mode), 0);
    return path;
  };
  std::ostringstream program;
  program << std::ifstream("/bin/true").rdbuf();
  std::string narrow = program.str();
  narrow[EI_CLASS] = ELFCLASS32;
  std::vector<std::pair<std::string, std::string>> cases = {
      {MITOSIS_STATIC_PROGRAM, "statically linked"},
      {make("script", "#! " MITOSIS_STATIC_PROGRAM " -x\n", 0755), "statically linked"},
      {make("narrow", narrow, 0755), "32-bit"},
      {make("text", "hello", 0755), "neither an ELF program nor a script"},
      {make("cut", program.str().substr(0, 40), 0755), "statically linked"},
  };
  if (::geteuid() == 0) {
    const std::string path = make("owned", program.str(), 0755);
    EXPECT_EQ(::chown(path.c_str(), 65534, 65534), 0);
    EXPECT_EQ(::chmod(path.c_str(), 04755), 0);
    cases.emplace_back(path, "is set-uid");
  }
  for (const auto& [path, named] : cases) {
    const Outcome outcome = run_command({"run", "--", path});
    EXPECT_EQ(outcome.status, 126) << path;
    EXPECT_TRUE(is_one_line(outcome.err, "mitosis run: ")) << outcome.err;
    EXPECT_TRUE(contains(outcome.err, named)) << outcome.err;
  }
}

TEST(Cli, PoliciesAreListedByAxisAndByName) {
  const Outcome text = run_command({"policies"});
  EXPECT_EQ(text.status, 0);
  for (const char* word : {"rc", "dct", "ondemand", "prefetch64", "eager", "local", "copy"}) {
    EXPECT_TRUE(contains(text.out, word)) << word;
  }
  const auto json = nlohmann::json::parse(run_command({"policies", "--json"}).out);
  EXPECT_EQ(json.at("default"), "rc+prefetch8+none+cow");
  EXPECT_EQ(json.at("axes").size(), 5u);
  EXPECT_EQ(json.at("policies").size(), 104u);
}

TEST(Cli, TheDemoSaysWhatItLacks) {
  // A nobody may not reach the build's folder; then the shell's tool cannot run it.
  const std::vector<std::string> as_nobody = {"/usr/bin/setpriv", "--reuid=65534", "--clear-groups",
                                              MITOSIS_COMMAND, "demo"};
  const Outcome outcome = ::geteuid() == 0 ? run_program(as_nobody, {}) : run_command({"demo"});
  if (outcome.status > 2) GTEST_SKIP() << outcome.err;
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(is_one_line(outcome.err, "mitosis demo: "));
  EXPECT_TRUE(contains(outcome.err, "CAP_SYS_ADMIN")) << outcome.err;
}

}  // namespace
}  // namespace mitosis::tools
