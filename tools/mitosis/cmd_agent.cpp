// SPDX-License-Identifier: MIT
// `mitosis agent`: the daemon that every machine runs one of. World: user.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/options.hpp>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "command.hpp"
#include "config_file.hpp"
#include "option.hpp"
#include "values/duration.hpp"
#include "values/peer.hpp"
#include "values/policy.hpp"
#include "values/size.hpp"

namespace mitosis::tools {

namespace {

struct AgentArguments {
  agent::AgentOptions agent;
  std::vector<std::string> peers;
  std::string config;
  std::string log_level = "info";
  std::string fabric = "tcp";
};

Result<std::string> parse_listen(std::string_view text) {
  return parse_address(text);
}

void add_options(CLI::App& app, AgentArguments& arguments) {
  agent::AgentOptions& o = arguments.agent;
  app.add_option("--config", arguments.config,
                 "a TOML file of these options without their dashes (machine = 1); the command "
                 "line wins")
      ->type_name("FILE")
      ->configurable(false);
  add_parsed(app, "--machine,-m", o.machine, parse_machine,
             "this machine's id in the cluster; no two may share one")
      ->type_name("ID");
  add_parsed(app, "--listen", o.listen, parse_listen,
             "where other agents reach this one; port 0 takes a free one")
      ->type_name("HOST:PORT")
      ->default_str(o.listen);
  add_parsed(app, "--advertise", o.advertise, parse_listen,
             "what others are told to reach it at, where that is not --listen")
      ->type_name("HOST:PORT");
  app.add_option("--secret-file", o.secret_file,
                 "the cluster's shared secret (16 bytes or more, mode 0600); without it only "
                 "this machine is served")
      ->type_name("FILE");
  app.add_option("--peer", arguments.peers,
                 "another machine that is known from the start, and connected to when it is first "
                 "needed; repeatable")
      ->type_name("ID=HOST:PORT")
      ->expected(1)
      ->take_all();
  add_parsed(app, "--policy", o.policy, parse_compiled_policy,
             "for programs that name none; see `mitosis policies`")
      ->type_name("NAME")
      ->default_str(o.policy);
  add_parsed(app, "--memory-budget", o.memory_budget, parse_size,
             "for all caches and copies together")
      ->type_name("SIZE")
      ->default_str("4G");
  add_parsed(app, "--cache-idle", o.cache_idle, parse_duration,
             "a cache that nobody uses is dropped after this")
      ->type_name("TIME")
      ->default_str("60s");
  add_parsed(app, "--lease", o.lease, parse_duration,
             "a prepared parent whose process has exited stays this long unused")
      ->type_name("TIME")
      ->default_str("60s");
  add_parsed(app, "--page-deadline", o.page_deadline, parse_duration,
             "a page that has not come by then is SIGBUS to the child that waits")
      ->type_name("TIME")
      ->default_str("5s");
  app.add_option("--pagers", o.pagers, "pager threads")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(1u, 64u));
  app.add_option("--fabric", arguments.fabric,
                 "how pages come: over TCP, or by RDMA (verbs) where both machines have that")
      ->capture_default_str()
      ->check(CLI::IsMember({"tcp", "verbs"}));
  app.add_option("--device", o.device, "of verbs: its name (rxe0); else the first one")
      ->type_name("NAME");
  app.add_option("--gid", o.gid, "of verbs: the index of the device's address; else it is chosen")
      ->type_name("INDEX")
      ->check(CLI::Range(0, 255));
  app.add_flag("--rdma-cm", o.rdma_cm,
               "of verbs: let rdma_cm make the connections that this agent reads through");
  app.add_option("--pool-socket", o.pool_socket,
                 "of verbs: where processes attach to the connection pool; else X.pool.sock "
                 "beside X.sock")
      ->type_name("PATH");
  app.add_flag("--keyless", o.keyless,
               "let programs of the original interface (`mitosis run`) prepare parents that every "
               "user of every machine of the cluster may resume");
  app.add_option("--ready-file", o.ready_file, "written with the pid once everything is served")
      ->type_name("FILE");
  app.add_option("--log-level", arguments.log_level, "how much to say on standard error")
      ->capture_default_str()
      ->check(CLI::IsMember({"trace", "debug", "info", "warning", "error", "off"}));
}

/// With less no page of another machine would come in time.
constexpr std::chrono::milliseconds shortest_page_deadline{10};

/// What CLI11 does not check by itself: the file, options that one of the two must give, and what
/// does not go together.
void finish(CLI::App& app, AgentArguments& arguments) {
  if (!arguments.config.empty()) apply_config(app, arguments.config);
  if (app.get_option("--machine")->count() == 0) throw CLI::RequiredError("--machine");
  arguments.agent.verbs = arguments.fabric == "verbs";
  const agent::AgentOptions& o = arguments.agent;
  const std::pair<const char*, bool> of_verbs[] = {{"--device", !o.device.empty()},
                                                   {"--gid", o.gid >= 0},
                                                   {"--rdma-cm", o.rdma_cm},
                                                   {"--pool-socket", !o.pool_socket.empty()}};
  for (const auto& [name, given] : of_verbs) {
    if (given && !o.verbs) throw CLI::ValidationError(name, "is of --fabric verbs");
  }
  if (o.page_deadline < shortest_page_deadline) {
    throw CLI::ValidationError("--page-deadline", "is 10ms or more: pages come from afar");
  }
  if (o.lease.count() == 0) {
    throw CLI::ValidationError("--lease", "is more than 0: nobody could use what is prepared");
  }
  if (o.advertise.find_last_not_of('0') == o.advertise.rfind(':') && !o.advertise.empty()) {
    throw CLI::ValidationError("--advertise", "has no port that others could call");
  }
  for (const std::string& text : arguments.peers) {
    auto peer = parse_peer(text);
    if (!peer) throw CLI::ValidationError("--peer", describe(peer.error()));
    if (peer->first == arguments.agent.machine) {
      throw CLI::ValidationError("--peer", "`" + text + "` is this machine itself (--machine)");
    }
    for (const auto& [machine, address] : arguments.agent.peers) {
      if (machine != peer->first) continue;
      throw CLI::ValidationError(
          "--peer",
          fmt::format("`{}`: that machine is at {} already; it has one address", text, address));
    }
    arguments.agent.peers.push_back(std::move(*peer));
  }
}

}  // namespace

Command add_agent(CLI::App& root) {
  CLI::App* app = root.add_subcommand("agent", "Run this machine's agent (needs root)");
  app->footer(
      "Runs in the foreground until SIGTERM or Ctrl-C, which end the children that it serves.\n"
      "Exits with 0 when it ended in order, 1 when it could not start or go on.\n\n"
      "Example, on machine 2 of a cluster of two:\n"
      "  mitosis agent --machine 2 --secret-file /etc/mitosis/secret --peer 1=10.0.0.1:7411");
  auto arguments = std::make_shared<AgentArguments>();
  add_socket(*app, arguments->agent.socket);
  add_options(*app, *arguments);
  return {app, [app, arguments] {
            finish(*app, *arguments);
            spdlog::set_default_logger(spdlog::stderr_color_mt("mitosis"));
            spdlog::set_level(spdlog::level::from_str(arguments->log_level));
            if (!arguments->agent.peers.empty() && arguments->agent.secret_file.empty()) {
              spdlog::warn(
                  "--peer without --secret-file: no other machine is served, and none "
                  "that has a secret answers");
            }
            return agent::run_agent(arguments->agent);
          }};
}

}  // namespace mitosis::tools
