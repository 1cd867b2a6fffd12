// SPDX-License-Identifier: MIT
// `mitosis pool`: this machine's connection pool: holds RDMA connections to other machines', which
// processes here then use without setting up their own. World: user.
#include <fmt/format.h>
#include <signal.h>

#include <mitosis/net/auth/secret.hpp>
#ifdef MITOSIS_RDMA
#include <mitosis/net/verbs/pool_server.hpp>
#endif

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "option.hpp"
#include "values/peer.hpp"

namespace mitosis::tools {

namespace {

struct PoolArguments {
  MachineId machine = MachineId::none;
  std::string secret_file;
  std::string listen = "0.0.0.0:7412";
  std::string socket = "/run/mitosis/pool.sock";
  std::string device;
  std::string ready_file;
  std::vector<std::string> peers;
};

#ifdef MITOSIS_RDMA
/// The words for an agent end with a way out that a pool does not have.
Error without_agents_advice(Error error) {
  const std::string text = error.subject.c_str();
  const std::string advice = "; use --fabric tcp";
  if (text.ends_with(advice)) {
    error.subject = Text<191>();
    error.subject.append(text.data(), text.size() - advice.size());
  }
  return error;
}

int serve(const PoolArguments& arguments) {
  Result<auth::Secret> secret = auth::Secret::load(arguments.secret_file);
  if (!secret) return fail("pool", secret.error());
  const Result<verbs::Nic> nic = verbs::Nic::open({arguments.device, {}, {}});
  if (!nic) return fail("pool", without_agents_advice(nic.error()));
  tcp::AddressBook book;
  for (const std::string& text : arguments.peers) {
    auto peer = parse_peer(text);
    if (!peer) return fail("pool", peer.error(), exit_usage);
    if (Result<void> known = book.set(peer->first, peer->second); !known) {
      return fail("pool", known.error());
    }
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  verbs::PoolServer::Options options;
  options.socket = arguments.socket;
  options.listen = arguments.listen;
  options.on_trouble = [](const Error& error) {
    fmt::print(stderr, "mitosis pool: {}\n", describe(error));
  };
  const auth::Identity self{arguments.machine,
                            std::make_shared<const auth::Secret>(std::move(*secret))};
  auto server = verbs::PoolServer::start(*nic, std::move(options), self, book);
  if (!server) return fail("pool", server.error());
  if (!arguments.ready_file.empty()) {
    std::FILE* const ready = std::fopen(arguments.ready_file.c_str(), "w");
    if (ready == nullptr) {
      return fail("pool", Error(Errc::system_call_failed, arguments.ready_file.c_str(), errno));
    }
    fmt::print(ready, "{}\n", ::getpid());
    std::fclose(ready);
  }
  int signal = 0;
  ::sigwait(&ends, &signal);
  return exit_ok;
}
#else
int serve(const PoolArguments&) {
  return fail("pool", Error(Errc::transport_unsupported,
                            "this mitosis was built without RDMA (-Drdma=enabled)"));
}
#endif

}  // namespace

Command add_pool(CLI::App& root) {
  CLI::App* app = root.add_subcommand("pool", "Hold RDMA connections for this machine's processes");
  app->footer(
      "Runs in the foreground until SIGTERM or Ctrl-C. Who may use it is who may write to its\n"
      "socket. Exits with 0 when it ended in order, 1 when it could not start.\n\n"
      "Example, on machine 2 of a cluster of two:\n"
      "  mitosis pool --machine 2 --secret-file /etc/mitosis/secret --peer 1=10.0.0.1:7412");
  auto arguments = std::make_shared<PoolArguments>();
  add_parsed(*app, "--machine,-m", arguments->machine, parse_machine, "this machine's id")
      ->type_name("ID")
      ->required();
  app->add_option("--secret-file", arguments->secret_file,
                  "the cluster's shared secret, as agents'")
      ->type_name("FILE")
      ->required();
  add_parsed(*app, "--listen", arguments->listen, parse_address, "where other pools reach this one")
      ->type_name("HOST:PORT")
      ->default_str(arguments->listen);
  app->add_option("--peer", arguments->peers, "another machine's pool; repeatable")
      ->type_name("ID=HOST:PORT")
      ->expected(1)
      ->take_all();
  app->add_option("--socket", arguments->socket, "where processes attach")
      ->type_name("PATH")
      ->capture_default_str();
  app->add_option("--device", arguments->device,
                  "the RDMA device, or its network interface; see `mitosis nics`")
      ->type_name("NAME");
  app->add_option("--ready-file", arguments->ready_file, "written with the pid once it serves")
      ->type_name("FILE");
  return {app, [arguments] { return serve(*arguments); }};
}

}  // namespace mitosis::tools
