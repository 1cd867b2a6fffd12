// SPDX-License-Identifier: MIT
// `mitosis spawn`: has the agent make children, and waits for them. World: user.
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "key_option.hpp"
#include "option.hpp"
#include "spawned_children.hpp"
#include "values/handler.hpp"
#include "values/peer.hpp"
#include "values/policy.hpp"

namespace mitosis::tools {

namespace {

struct SpawnArguments {
  std::string socket;
  local::Spawn request;
  KeyOption key;
  bool wait = true;
  bool null = false;
  bool json = false;
};

/// The one child's own status; of several, whether all ended with 0.
int status_of(const std::vector<SpawnedChild>& children) {
  if (children.size() == 1) return children[0].exit_status();
  for (const SpawnedChild& child : children) {
    if (child.exit_status() != 0) return exit_failed;
  }
  return exit_ok;
}

void print_json(const std::vector<SpawnedChild>& children) {
  nlohmann::json list = nlohmann::json::array();
  for (const SpawnedChild& child : children) {
    nlohmann::json one = {{"pid", child.pid}};
    if (child.status) one["status"] = child.exit_status();
    list.push_back(one);
  }
  fmt::print("{}\n", nlohmann::json{{"children", list}}.dump());
}

int run(SpawnArguments& arguments) {
  const Result<AuthKey> key = arguments.key.get_or_none();
  if (!key) return fail("spawn", key.error(), exit_usage);
  arguments.request.key = *key;
  // The client's headers look for the agent where the environment says.
  ::setenv("MITOSIS_SOCKET", arguments.socket.c_str(), 1);
  const Result<int> sd = client::connections().open();
  if (!sd) return fail("spawn", sd.error());

  SpawnedChildren children(*sd);
  if (auto made = children.make(arguments.request, !arguments.null); !made) {
    return fail("spawn", made.error());
  }
  if (!arguments.json) {
    // Their output is ours, so while we wait the pids go where they do not mix.
    std::FILE* out = arguments.wait ? stderr : stdout;
    for (const SpawnedChild& child : children.all()) fmt::print(out, "{}\n", child.pid);
    std::fflush(out);
  }
  Result<void> waited;
  if (arguments.wait) waited = children.wait();
  if (arguments.json) print_json(children.all());
  if (!waited) return fail("spawn", waited.error());
  return arguments.wait ? status_of(children.all()) : exit_ok;
}

}  // namespace

Command add_spawn(CLI::App& root) {
  CLI::App* app = root.add_subcommand("spawn", "Have the agent make children of a prepared parent");
  app->footer(
      "The children get this command's standard input, output and error and its user's identity,\n"
      "but they are the agent's children, each in a session of its own. Their pids are printed on\n"
      "standard error, one a line (with --no-wait on standard output). Waits until all have "
      "ended;\n"
      "Ctrl-C, SIGTERM, SIGQUIT and SIGHUP are passed on to them.\n"
      "Exits with the child's own status (128 and the signal's number if one killed it, 125 if it\n"
      "failed before its first instruction); with several children 0 if all of them ended with 0,\n"
      "else 1. If not all could be made there are none, and the status is 1.\n\n"
      "Examples:\n"
      "  mitosis spawn 1 73 --key-file parent.key\n"
      "  mitosis spawn 1 73 -n 10 --policy dct+local --key-file parent.key --json");
  auto arguments = std::make_shared<SpawnArguments>();
  local::Spawn& request = arguments->request;
  add_parsed(*app, "MACHINE", request.machine, parse_machine, "where it was prepared")
      ->type_name("ID")
      ->required();
  add_parsed(*app, "HANDLER", request.handler, parse_handler,
             "the handler id that it was prepared with")
      ->type_name("ID")
      ->required();
  arguments->key.add(*app);
  add_parsed(*app, "--policy", request.policy, parse_compiled_policy,
             "default: the one that it was prepared with")
      ->type_name("NAME");
  app->add_option("-n,--count", request.count, "how many children")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(1u, 16384u));
  app->add_flag_callback(
      "--pidns", [&request] { request.flags |= local::spawn_pid_namespace; },
      "each in a pid namespace of its own, with the parent's process and thread numbers, its own\n"
      "/proc and an init; and with clocks as by --timens (the agent needs CAP_SYS_ADMIN)");
  app->add_flag_callback(
      "--timens", [&request] { request.flags |= local::spawn_time_namespace; },
      "each in a time namespace of its own: its monotonic clocks go on from the parent's as of\n"
      "prepare (the agent needs CAP_SYS_ADMIN and CAP_SYS_TIME)");
  app->add_flag_callback(
      "--netns", [&request] { request.flags |= local::spawn_net_namespace; },
      "each in a network namespace of its own, with nothing but a loopback: the ports and names\n"
      "that the parent listened at are free there (the agent needs CAP_SYS_ADMIN)");
  app->add_flag("--wait,!--no-wait", arguments->wait, "whether to wait until they have ended");
  app->add_flag("--null", arguments->null, "give them /dev/null for all three");
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
