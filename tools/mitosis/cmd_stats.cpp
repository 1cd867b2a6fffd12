// SPDX-License-Identifier: MIT
// `mitosis stats`: the counters of the local agent and of the kernel module. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "command.hpp"
#include "option.hpp"
#include "sources.hpp"
#include "table.hpp"

namespace mitosis::tools {

namespace {

struct StatsArguments {
  std::string socket;
  bool json = false;
};

Result<nlohmann::json> agents_counters(const local::Channel& agent) {
  auto reply =
      agent.call<local::StatsText>(local::Stats{}, local::within(std::chrono::seconds(10)));
  if (!reply) return reply.error();
  auto stats = nlohmann::json::parse(reply->json, nullptr, false);
  if (!stats.is_object()) return Error(Errc::bad_message, "the agent's counters are not JSON");
  return stats;
}

int run(const StatsArguments& arguments) {
  const auto sources = Sources::open(arguments.socket);
  if (!sources) return fail("stats", sources.error());
  nlohmann::json stats = nlohmann::json::object();
  if (sources->agent) {
    auto counters = agents_counters(*sources->agent);
    if (!counters) return fail("stats", counters.error());
    stats = std::move(*counters);
  }
  if (sources->module) {
    auto counters = sources->module->statistics();
    if (!counters) return fail("stats", counters.error());
    stats["module"] = std::move(*counters);
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
  CLI::App* app =
      root.add_subcommand("stats", "Show the counters of the local agent and the kernel module");
  app->footer(
      "Those of the kernel module, where it is loaded, are under `module`. Times of single steps\n"
      "are counted for policies with `profile` (the module's are in debugfs).\n"
      "Exits with 0 when the agent or the module answered, else with 1.\n\n"
      "Example:\n"
      "  mitosis stats --json");
  auto arguments = std::make_shared<StatsArguments>();
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
