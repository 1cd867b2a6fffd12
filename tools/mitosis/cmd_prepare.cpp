// SPDX-License-Identifier: MIT
// `mitosis prepare`: prepares a running process by its pid. World: user.
#include <signal.h>

#include <mitosis/fork/user/client/key_text.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <string>

#include "command.hpp"
#include "key_file.hpp"
#include "option.hpp"
#include "standard_streams.hpp"
#include "values/handler.hpp"
#include "values/policy.hpp"

namespace mitosis::tools {

namespace {

struct PrepareArguments {
  std::string socket;
  local::PrepareProcess request;
  std::string key_file;
  bool json = false;
};

/// After the key could not be kept: nobody could resume what was prepared, and it would stay.
int take_back(const local::ChannelView& agent, const local::ProcessPrepared& prepared,
              HandlerId handler, const Error& why) {
  local::Reclaim request;
  request.handler = handler;
  request.key = prepared.key;
  request.has_key = true;
  const auto gone = agent.call<local::Done>(request, local::within(std::chrono::seconds(15)));
  const int status = fail("prepare", why);
  if (gone) {
    fmt::print(stderr, "mitosis: prepare: handler {} was reclaimed, for nobody has its key\n",
               static_cast<std::uint64_t>(handler));
  } else {
    fmt::print(stderr, "mitosis: prepare: and it stays prepared: {}\n", describe(gone.error()));
  }
  return status;
}

int run(const PrepareArguments& arguments) {
  ::signal(SIGPIPE, SIG_IGN);  // a reader that is gone is told as any other
  std::optional<KeyFile> key_file;
  if (!arguments.key_file.empty()) {
    auto opened = KeyFile::open(arguments.key_file);
    if (!opened) return fail("prepare", opened.error());
    key_file.emplace(std::move(*opened));
  }
  auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("prepare", agent.error());
  const auto deadline = local::within(std::chrono::seconds(60));
  auto prepared = agent->call<local::ProcessPrepared>(arguments.request, deadline);
  if (!prepared) return fail("prepare", prepared.error().of_handler(arguments.request.handler));

  for (const std::string& lost : prepared->dropped) {
    fmt::print(stderr, "mitosis: prepare: dropped from process {}: {}\n", arguments.request.pid,
               lost);
  }
  const std::string key = format_key(prepared->key);
  if (key_file) {
    if (auto kept = key_file->write(key + "\n"); !kept) {
      return take_back(*agent, *prepared, arguments.request.handler, kept.error());
    }
  }
  if (arguments.json) {
    nlohmann::json out = {{"handler", static_cast<std::uint64_t>(arguments.request.handler)},
                          {"pid", arguments.request.pid},
                          {"processes", prepared->processes},
                          {"threads", prepared->threads},
                          {"stopped_us", static_cast<double>(prepared->stopped_ns) * 1e-3}};
    if (!prepared->dropped.empty()) out["dropped"] = prepared->dropped;
    if (!key_file) out["key"] = key;
    std::puts(out.dump().c_str());
  } else if (!key_file) {
    std::puts(key.c_str());
  }
  if (auto printed = flush_output(); !printed && !key_file) {
    return take_back(*agent, *prepared, arguments.request.handler, printed.error());
  } else if (!printed) {  // the key is where it was wanted
    return fail("prepare", printed.error());
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
      ->check(CLI::Range(1, std::numeric_limits<pid_t>::max()));
  add_parsed(*app, "--handler", arguments->request.handler, parse_handler,
             "an id that no other parent of this machine has")
      ->type_name("ID")
      ->required();
  add_parsed(*app, "--policy", arguments->request.policy, parse_compiled_policy,
             "default: the agent's; see `mitosis policies`")
      ->type_name("NAME");
  app->add_option("--key-out", arguments->key_file,
                  "write the key to this file, which only you can read, instead of printing it")
      ->type_name("FILE");
  app->add_flag("--alone", arguments->request.alone,
                "leave the processes that it has made where they are, as fork() does");
  app->add_flag(
      "--lossy", arguments->request.lossy,
      "open files that cannot come along are left out, each with a warning: in a child the\n"
      "descriptor reads as ended and refuses writes");
  add_json(*app, arguments->json);
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
