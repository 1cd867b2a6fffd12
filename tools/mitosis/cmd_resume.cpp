// SPDX-License-Identifier: MIT
// `mitosis resume`: becomes a child, as exec becomes a program. World: user.
#include <mitosis/fork/user/fresh_network.hpp>
#include <mitosis/fork/user/local/connect.hpp>
#include <mitosis/fork/user/restore/launch.hpp>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "command.hpp"
#include "key_option.hpp"
#include "option.hpp"
#include "values/handler.hpp"
#include "values/peer.hpp"
#include "values/policy.hpp"

namespace mitosis::tools {

namespace {

struct ResumeArguments {
  std::string socket;
  restore::ResumeRequest request;
  KeyOption key;
  bool netns = false;
};

/// Returns only on failure.
int run(ResumeArguments& arguments) {
  const Result<AuthKey> key = arguments.key.get_or_none();
  if (!key) return fail("resume", key.error(), exit_usage);
  arguments.request.key = *key;
  arguments.request.warn = [](const char* sentence) {
    std::fprintf(stderr, "mitosis: resume: %s\n", sentence);
  };
  const auto agent = local::connect(arguments.socket, std::chrono::seconds(5));
  if (!agent) return fail("resume", agent.error(), exit_not_resumed);
  if (bool entered = false; arguments.netns) {
    if (const int err = enter_fresh_network(entered); err != 0) {
      const Error why = entered ? Error(Errc::system_call_failed, "set its loopback up", err)
                                : Error(Errc::missing_privilege, "CAP_SYS_ADMIN", err);
      return fail("resume", Error(why).in("make a network namespace"), exit_not_resumed);
    }
  }
  Error error = restore::take_over(*agent, arguments.request).error();
  error.of_handler(arguments.request.handler);
  return fail("resume", error, exit_not_resumed);
}

}  // namespace

Command add_resume(CLI::App& root) {
  CLI::App* app = root.add_subcommand("resume", "Become a child of a prepared parent");
  app->footer(
      "The child takes this process over, as exec would: its pid, its standard input, output and\n"
      "error, its user, its place under the shell. It goes on where the parent prepared itself.\n"
      "Exits with the child's own status, or with 125 (and the reason on standard error) when the\n"
      "child could not be made: then no instruction of it has run.\n\n"
      "Examples:\n"
      "  mitosis resume 1 73 --key-file parent.key\n"
      "  MITOSIS_KEY=... mitosis resume 1 73 --policy dct+prefetch32+local");
  auto arguments = std::make_shared<ResumeArguments>();
  add_parsed(*app, "MACHINE", arguments->request.machine, parse_machine,
             "where it was prepared; it must be connected (`mitosis connect`)")
      ->type_name("ID")
      ->required();
  add_parsed(*app, "HANDLER", arguments->request.handler, parse_handler,
             "the handler id that it was prepared with")
      ->type_name("ID")
      ->required();
  arguments->key.add(*app);
  add_parsed(*app, "--policy", arguments->request.policy, parse_compiled_policy,
             "default: the one that it was prepared with")
      ->type_name("NAME");
  app->add_flag(
      "--netns", arguments->netns,
      "in a network namespace of its own, with nothing but a loopback: the ports and names\n"
      "that the parent listened at are free there (takes CAP_SYS_ADMIN)");
  add_socket(*app, arguments->socket);
  return {app, [arguments] { return run(*arguments); }};
}

}  // namespace mitosis::tools
