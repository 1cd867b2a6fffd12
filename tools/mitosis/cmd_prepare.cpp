// SPDX-License-Identifier: MIT
// `mitosis prepare`: prepares a running process by its pid. World: user.
#include <fcntl.h>
#include <unistd.h>

#include <mitosis/fork/user/client/key_text.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>

#include "command.hpp"
#include "option.hpp"
#include "values/handler.hpp"

namespace mitosis::tools {

namespace {

struct PrepareArguments {
  std::string socket;
  local::PrepareProcess request;
  std::string key_file;
  bool json = false;
};

/// For its owner's eyes only. Made before anything is prepared: a key that cannot be kept is lost.
Result<UniqueFd> open_key_file(const std::string& path) {
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file) return Error(Errc::system_call_failed, path.c_str(), errno).in("open the key file");
  return file;
}

int run(const PrepareArguments& arguments) {
  UniqueFd key_file;
  if (!arguments.key_file.empty()) {
    auto opened = open_key_file(arguments.key_file);
    if (!opened) return fail("prepare", opened.error());
    key_file = std::move(*opened);
  }
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("prepare", agent.error());
  const auto deadline = local::within(std::chrono::seconds(60));
  auto prepared = agent->call<local::ProcessPrepared>(arguments.request, deadline);
  if (!prepared) return fail("prepare", prepared.error().of_handler(arguments.request.handler));

  const std::string key = format_key(prepared->key);
  if (key_file) {
    const std::string line = key + "\n";
    if (::write(key_file.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      return fail(
          "prepare",
          Error(Errc::system_call_failed, arguments.key_file.c_str(), errno).in("write the key"));
    }
  }
  if (arguments.json) {
    nlohmann::json out = {{"handler", static_cast<std::uint64_t>(arguments.request.handler)},
                          {"pid", arguments.request.pid},
                          {"processes", prepared->processes},
                          {"threads", prepared->threads},
                          {"stopped_us", static_cast<double>(prepared->stopped_ns) * 1e-3}};
    if (!key_file) out["key"] = key;
    fmt::print("{}\n", out.dump());
  } else if (!key_file) {
    fmt::print("{}\n", key);
  }
  return exit_ok;
}

}  // namespace

Command add_prepare(CLI::App& root) {
  CLI::App* app = root.add_subcommand("prepare", "Prepare a running process by its pid");
  app->footer(
      "The process need not know of mitosis. It stands still for about as long as a fork() of it\n"
      "takes, and goes on; children of it go on where each of its threads stood. Whose processes\n"
      "you may prepare is ptrace's rule: your own, or as root every one.\n"
      "The processes that it has made come along; then `spawn --pidns` makes all of them anew.\n"
      "Prints the auth key that opens the handler, unless --key-out takes it.\n"
      "Exits with 0 when it is prepared; else with 1, and the process is as before.\n\n"
      "Examples:\n"
      "  mitosis prepare --pid 4711 --handler 73 --key-out parent.key\n"
      "  mitosis prepare --pid $(pidof python3) --handler 73 --json");
  auto arguments = std::make_shared<PrepareArguments>();
  app->add_option("--pid", arguments->request.pid, "the process")
      ->type_name("PID")
      ->required()
      ->check(CLI::PositiveNumber);
  add_parsed(*app, "--handler", arguments->request.handler, parse_handler,
             "an id that no other parent of this machine has")
      ->type_name("ID")
      ->required();
  app->add_option("--policy", arguments->request.policy, "default: the agent's")->type_name("NAME");
  app->add_option("--key-out", arguments->key_file,
                  "write the key to this file, which only you can read, instead of printing it")
      ->type_name("FILE");
  app->add_flag("--alone", arguments->request.alone,
                "leave the processes that it has made where they are, as fork() does");
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
