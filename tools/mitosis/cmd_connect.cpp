// SPDX-License-Identifier: MIT
// `mitosis connect`: makes another machine known to this machine's agent. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <chrono>
#include <memory>
#include <string>

#include "command.hpp"
#include "option.hpp"
#include "values/peer.hpp"

namespace mitosis::tools {

namespace {

struct ConnectArguments {
  std::string socket;
  local::Connect request;
};

int run(const ConnectArguments& arguments) {
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("connect", agent.error());
  const auto deadline = local::within(std::chrono::seconds(15));
  if (auto done = agent->call<local::Done>(arguments.request, deadline); !done) {
    return fail("connect", done.error());
  }
  return exit_ok;
}

}  // namespace

Command add_connect(CLI::App& root) {
  CLI::App* app = root.add_subcommand("connect", "Make another machine known and connect to it");
  app->footer(
      "Parents that are prepared there can be resumed here from then on. Only root may do this;\n"
      "`mitosis agent --peer` makes it known from the start, untried.\n"
      "Exits with 0 when the other agent answered and holds the same secret, else with 1.\n\n"
      "Example:\n"
      "  mitosis connect 1 10.0.0.1:7411");
  auto arguments = std::make_shared<ConnectArguments>();
  add_parsed(*app, "MACHINE", arguments->request.machine, parse_machine, "the other machine's id")
      ->type_name("ID")
      ->required();
  add_parsed(*app, "ADDRESS", arguments->request.address, parse_address, "where its agent listens")
      ->type_name("HOST:PORT")
      ->required();
  app->add_option(
         "--nic", arguments->request.nic,
         "taken as the original's connector gives it, and ignored: the agent's --device chooses")
      ->capture_default_str()
      ->type_name("N");
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
