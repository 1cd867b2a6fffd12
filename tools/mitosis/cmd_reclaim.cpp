// SPDX-License-Identifier: MIT
// `mitosis reclaim`: ends a prepared parent's image. World: user.
#include <mitosis/fork/user/local/messages.hpp>

#include <chrono>
#include <memory>
#include <string>

#include "command.hpp"
#include "key_option.hpp"
#include "option.hpp"
#include "values/handler.hpp"
#include "values/peer.hpp"

namespace mitosis::tools {

namespace {

struct ReclaimArguments {
  std::string socket;
  local::Reclaim request;
  KeyOption key;
};

int run(ReclaimArguments& arguments) {
  local::Reclaim& request = arguments.request;
  request.has_key = arguments.key.given();
  if (request.has_key) {
    const Result<AuthKey> key = arguments.key.get();
    if (!key) return fail("reclaim", key.error(), exit_usage);
    request.key = *key;
  } else if (request.machine != MachineId::none) {
    const Error missing(Errc::invalid_argument, "a handler of another machine needs its auth key");
    return fail("reclaim", missing, exit_usage);
  }
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("reclaim", agent.error());
  const auto deadline = local::within(std::chrono::seconds(15));
  if (auto done = agent->call<local::Done>(request, deadline); !done) {
    return fail("reclaim", done.error());
  }
  return exit_ok;
}

}  // namespace

Command add_reclaim(CLI::App& root) {
  CLI::App* app = root.add_subcommand("reclaim", "End a prepared parent's image");
  app->footer(
      "No page of it is served once this returns: children that still need one get SIGBUS. The\n"
      "parent itself runs on. Your own handlers need no key here; root may reclaim every one.\n"
      "Exits with 0 when it was there and is gone, else with 1.\n\n"
      "Examples:\n"
      "  mitosis reclaim 73\n"
      "  mitosis reclaim 73 --machine 1 --key-file parent.key");
  auto arguments = std::make_shared<ReclaimArguments>();
  add_parsed(*app, "HANDLER", arguments->request.handler, parse_handler,
             "the handler id that it was prepared with")
      ->type_name("ID")
      ->required();
  add_parsed(*app, "--machine", arguments->request.machine, parse_machine,
             "where it was prepared, if not here")
      ->type_name("ID");
  arguments->key.add(*app);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
