// SPDX-License-Identifier: MIT
// `mitosis stats`: the local agent's counters. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "command.hpp"
#include "option.hpp"
#include "table.hpp"

namespace mitosis::tools {

namespace {

struct StatsArguments {
  std::string socket;
  bool json = false;
};

int run(const StatsArguments& arguments) {
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("stats", agent.error());
  const auto deadline = local::within(std::chrono::seconds(10));
  auto reply = agent->call<local::StatsText>(local::Stats{}, deadline);
  if (!reply) return fail("stats", reply.error());
  const auto stats = nlohmann::json::parse(reply->json, nullptr, false);
  if (stats.is_discarded()) {
    return fail("stats", Error(Errc::bad_message, "the agent's counters are not JSON"));
  }
  if (arguments.json) {
    fmt::print("{}\n", stats.dump());
    return exit_ok;
  }
  Table table({"COUNTER", ">VALUE"});
  const auto flat = stats.flatten();
  for (const auto& [path, value] : flat.items()) {
    if (value.is_null()) continue;  // nothing was profiled
    std::string name = path.substr(path.empty() ? 0 : 1);
    std::replace(name.begin(), name.end(), '/', '.');
    table.add({name, value.is_string() ? value.get<std::string>() : value.dump()});
  }
  fmt::print("{}", table.text());
  return exit_ok;
}

}  // namespace

Command add_stats(CLI::App& root) {
  CLI::App* app = root.add_subcommand("stats", "Show the local agent's counters");
  app->footer(
      "Times of single steps are counted for policies with `profile`.\n"
      "Exits with 0 when the agent answered, else with 1.\n\n"
      "Example:\n"
      "  mitosis stats --json");
  auto arguments = std::make_shared<StatsArguments>();
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
