// SPDX-License-Identifier: MIT
// What `mitosis` makes of an agent's answers, played by a thread of this test. World: user.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <mitosis/fork/user/client/key_text.hpp>
#include <mitosis/fork/user/local/connect.hpp>
#include <mitosis/fork/user/local/messages.hpp>
#include <testbed/temp_dir.hpp>

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "tools_command.hpp"

namespace mitosis::tools {
namespace {

/// Serves one connection by `serve`, on a thread of its own. Everything waits ten seconds at most.
class FakeAgent {
 public:
  using Serve = std::function<void(const local::Channel&)>;
  explicit FakeAgent(Serve serve) : dir_(std::move(*testbed::TempDir::create("mitosis-test"))) {
    listening_ = std::move(*local::listen(socket()));
    thread_ = std::thread([this, serve = std::move(serve)] {
      pollfd ready = {listening_.get(), POLLIN, 0};
      if (::poll(&ready, 1, 10'000) != 1) return;
      auto connection = local::accept(listening_.get());
      if (connection) serve(*connection);
    });
  }
  ~FakeAgent() { thread_.join(); }
  FakeAgent(const FakeAgent&) = delete;
  FakeAgent& operator=(const FakeAgent&) = delete;
  [[nodiscard]] std::string socket() const { return dir_.file("sock"); }

 private:
  testbed::TempDir dir_;
  UniqueFd listening_;
  std::thread thread_;
};

local::Deadline soon() {
  return local::within(std::chrono::seconds(10));
}

template <local::LocalMessage M>
M expect(const local::Channel& channel, std::size_t fds = 0) {
  auto packet = channel.receive(soon());
  if (!packet) {
    ADD_FAILURE() << describe(packet.error());
    return {};
  }
  EXPECT_EQ(packet->fds.size(), fds);
  auto message = local::decode_packet<M>(Bytes(packet->bytes.data(), packet->bytes.size()));
  EXPECT_TRUE(message);
  return message ? std::move(*message) : M{};
}

template <local::LocalMessage M>
void tell(const local::Channel& channel, const M& message) {
  EXPECT_TRUE(channel.send(message, soon()));
}

TEST(Ps, ShowsAllRowsOfSeveralAnswers) {
  const FakeAgent agent([](const local::Channel& channel) {
    for (std::uint32_t i = 0; i < 2; ++i) {
      EXPECT_EQ(expect<local::List>(channel).skip, i);
      local::ListRow row;
      row.kind = i == 0 ? local::RowKind::parent : local::RowKind::child;
      row.pid = 100 + static_cast<int>(i);
      row.handler = HandlerId{73};
      row.state = "running";
      row.name = "python3";
      row.pages_total = 76'800;
      if (i == 1) row.machine = MachineId{1};
      tell(channel, local::Listing{{row}, i == 0});
    }
  });
  const Outcome outcome = run_command({"ps", "--json", "--socket", agent.socket()});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto rows = nlohmann::json::parse(outcome.out);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].at("kind"), "parent");
  EXPECT_FALSE(rows[0].contains("machine"));
  EXPECT_EQ(rows[1].at("pid"), 101);
  EXPECT_EQ(rows[1].at("machine"), 1);
  EXPECT_EQ(rows[1].at("pages_total"), 76'800);
}

TEST(Stats, AreATableOrTheAgentsOwnJson) {
  const auto serve = [](const local::Channel& channel) {
    (void)expect<local::Stats>(channel);
    tell(channel, local::StatsText{R"({"faults": 12, "resume": {"p50_us": 1.5}})"});
  };
  const FakeAgent first(serve), second(serve);
  const Outcome text = run_command({"stats", "--socket", first.socket()});
  EXPECT_EQ(text.status, 0) << text.err;
  EXPECT_EQ(text.out, "COUNTER        VALUE\nfaults            12\nresume.p50_us    1.5\n");
  const Outcome json = run_command({"stats", "--json", "--socket", second.socket()});
  EXPECT_EQ(nlohmann::json::parse(json.out).at("faults"), 12);
}

TEST(Reclaim, SaysWhatTheAgentSays) {
  const FakeAgent agent([](const local::Channel& channel) {
    const auto request = expect<local::Reclaim>(channel);
    EXPECT_EQ(request.handler, HandlerId{73});
    EXPECT_FALSE(request.has_key);
    tell(channel, local::Failed{Error(Errc::unknown_handler).of_handler(HandlerId{73})});
  });
  const Outcome outcome = run_command({"reclaim", "73", "--socket", agent.socket()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(is_one_line(outcome.err, "mitosis reclaim: handler 73: "));
  EXPECT_TRUE(contains(outcome.err, "mitosis ps")) << outcome.err;
}

/// `prepare` whose key cannot be kept where `where` sends it; what the agent heard of it then.
void lose_the_key(const std::vector<std::string>& argv) {
  const AuthKey key = *parse_key_text("00112233445566778899aabbccddeeff");
  const FakeAgent agent([&](const local::Channel& channel) {
    EXPECT_EQ(expect<local::PrepareProcess>(channel).handler, HandlerId{73});
    tell(channel, local::ProcessPrepared{.key = key, .dropped = {}});
    const auto request = expect<local::Reclaim>(channel);
    EXPECT_EQ(request.handler, HandlerId{73});
    EXPECT_TRUE(request.has_key && request.key == key);
    tell(channel, local::Done{});
  });
  std::vector<std::string> words = argv;
  words.insert(words.end(), {"--pid", "1", "--handler", "73", "--socket", agent.socket()});
  const Outcome outcome = run_program(words, {});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.err, "No space left on device")) << outcome.err;
  EXPECT_TRUE(contains(outcome.err, "handler 73 was reclaimed")) << outcome.err;
}

TEST(Prepare, WhatNobodyHasTheKeyOfIsReclaimed) {
  lose_the_key({MITOSIS_COMMAND, "prepare", "--key-out", "/dev/full"});
  const std::string script = "exec \"$0\" prepare \"$@\" >/dev/full";
  lose_the_key({"/bin/sh", "-c", script, MITOSIS_COMMAND});
}

TEST(Spawn, NeverHandsItsConnectionOverAsAStream) {
  const FakeAgent agent([](const local::Channel& channel) {
    auto packet = channel.receive(soon());
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->fds.size(), 3u);
    for (const UniqueFd& fd : packet->fds) {
      struct stat is = {};
      EXPECT_EQ(::fstat(fd.get(), &is), 0);
      EXPECT_FALSE(S_ISSOCK(is.st_mode));
    }
    tell(channel, local::Failed{Errc::wrong_key});
  });
  const std::string script = "exec \"$0\" spawn 1 73 --socket \"$1\" 0<&- 1>&-";
  const Outcome outcome =
      run_program({"/bin/sh", "-c", script, MITOSIS_COMMAND, agent.socket()}, {});
  EXPECT_EQ(outcome.status, 1);
}

/// What `spawn` makes of children that end with these statuses; the agent knows of the first
/// `told` of them. Their pidfds are real (of processes that end at once), the statuses made up.
Outcome spawn(const std::vector<int>& statuses, std::size_t told) {
  const std::size_t count = statuses.size();
  std::vector<testbed::Process> processes;
  for (std::size_t i = 0; i < count; ++i) {
    testbed::ProcessSpec spec;
    spec.argv = {"/bin/true"};
    auto process = testbed::Process::start(spec);
    if (!process) return {-1, "", describe(process.error())};
    processes.push_back(std::move(*process));
  }
  const FakeAgent agent([&](const local::Channel& channel) {
    const auto request = expect<local::Spawn>(channel, 3);
    EXPECT_EQ(request.count, count);
    for (std::size_t i = 0; i < count; ++i) {
      const int pid = processes[i].pid();
      const int pidfd[] = {processes[i].pidfd()};
      // An end may come before all beginnings have been told.
      const local::Spawned some{{pid}, static_cast<std::uint32_t>(count - 1 - i)};
      EXPECT_TRUE(channel.send(some, soon(), pidfd));
      if (i < told) tell(channel, local::ChildExited{pid, statuses[i]});
    }
    if (told == count) (void)channel.receive(soon());  // until the command has ended
  });
  Outcome outcome = run_command({"spawn", "1", "73", "-n", std::to_string(count), "--key",
                                 "00112233445566778899aabbccddeeff", "--socket", agent.socket()});
  const std::string first = std::to_string(processes[0].pid()) + "\n";
  EXPECT_TRUE(outcome.err.starts_with(first)) << outcome.err;
  EXPECT_EQ(outcome.out, "");  // that is the children's
  return outcome;
}

TEST(Spawn, ExitsAsTheOneChildDid) {
  EXPECT_EQ(spawn({W_EXITCODE(3, 0)}, 1).status, 3);
  EXPECT_EQ(spawn({W_EXITCODE(0, SIGBUS)}, 1).status, 128 + SIGBUS);
}

TEST(Spawn, OfSeveralAllMustEndWell) {
  EXPECT_EQ(spawn({0, 0, 0}, 3).status, 0);
  EXPECT_EQ(spawn({0, W_EXITCODE(9, 0), 0}, 3).status, 1);
}

TEST(Spawn, AnAgentThatGoesMidWayIsAFailure) {
  const Outcome outcome = spawn({0, 0}, 1);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(contains(outcome.err, "mitosis spawn: wait for them: ")) << outcome.err;
}

TEST(Spawn, ARefusalMakesNoChildren) {
  const FakeAgent agent([](const local::Channel& channel) {
    (void)expect<local::Spawn>(channel, 3);
    tell(channel, local::Failed{Errc::wrong_key});
  });
  const Outcome outcome =
      run_command({"spawn", "1", "73", "--key", "00112233445566778899aabbccddeeff", "--socket",
                   agent.socket()});
  EXPECT_EQ(outcome.status, 1);
  EXPECT_TRUE(is_one_line(outcome.err, "mitosis spawn: "));
}

}  // namespace
}  // namespace mitosis::tools
