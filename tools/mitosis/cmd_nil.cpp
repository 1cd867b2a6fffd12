// SPDX-License-Identifier: MIT
// `mitosis nil`: asks the local agent for nothing, to see that it answers and how fast. World:
// user.
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "option.hpp"

namespace mitosis::tools {

namespace {

struct NilArguments {
  std::string socket;
  unsigned count = 1;
  bool json = false;
};

int run(const NilArguments& arguments) {
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("nil", agent.error());
  std::vector<double> times;
  for (unsigned i = 0; i < arguments.count; ++i) {
    const auto start = std::chrono::steady_clock::now();
    auto done = agent->call<local::Done>(local::Nil{}, start + std::chrono::seconds(5));
    if (!done) return fail("nil", done.error());
    const std::chrono::duration<double, std::micro> took = std::chrono::steady_clock::now() - start;
    times.push_back(took.count());
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  if (arguments.json) {
    const nlohmann::json out = {{"calls", times.size()},
                                {"fastest_us", times.front()},
                                {"median_us", median},
                                {"slowest_us", times.back()}};
    fmt::print("{}\n", out.dump());
  } else {
    fmt::print(
        "the agent answers; {} call{}: fastest {:.1f} us, median {:.1f} us, slowest {:.1f} us\n",
        times.size(), times.size() == 1 ? "" : "s", times.front(), median, times.back());
  }
  return exit_ok;
}

}  // namespace

Command add_nil(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("nil", "Ask the local agent whether it answers, and how fast");
  app->footer(
      "Exits with 0 when it answered, else with 1.\n\n"
      "Example:\n"
      "  mitosis nil -n 1000");
  auto arguments = std::make_shared<NilArguments>();
  app->add_option("-n,--count", arguments->count, "how many calls, one after the other")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(1u, 1'000'000u));
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
