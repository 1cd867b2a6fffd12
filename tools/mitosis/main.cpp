// SPDX-License-Identifier: MIT
// `mitosis`: one command for everything that a person does with remote fork. World: user.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <string>
#include <system_error>
#include <vector>

#include "command.hpp"
#include "option.hpp"
#include "standard_streams.hpp"

namespace mitosis::tools {

namespace {

std::vector<Command> add_commands(CLI::App& app) {
  return {add_agent(app), add_connect(app), add_prepare(app), add_resume(app),   add_spawn(app),
          add_run(app),   add_ps(app),      add_reclaim(app), add_policies(app), add_stats(app),
          add_nics(app),  add_nil(app),     add_demo(app)};
}

/// CLI11's own statuses are above 100 and would be taken for a child's.
int usage(const CLI::App& app, const CLI::Error& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  const CLI::App* given = &app;
  for (const CLI::App* sub : app.get_subcommands()) given = sub;
  const std::string name = given == &app ? "mitosis" : "mitosis " + given->get_name();
  const std::vector<std::string> unknown = app.remaining();
  if (given == &app && !unknown.empty()) {
    fmt::print(stderr, "mitosis: there is no {} `{}`; see `mitosis --help`\n",
               unknown[0][0] == '-' ? "option" : "command", unknown[0]);
    return exit_usage;
  }
  fmt::print(stderr, "{}: {}; see `{} --help`\n", name, error.what(), name);
  return exit_usage;
}

/// A command that printed to nobody has not done what it was asked.
int checked(const std::string& name, int status) {
  const Result<void> printed = flush_output();
  if (printed || status != exit_ok) return status;
  return fail(name.c_str(), printed.error(), exit_failed);
}

int run(int argc, char** argv) {
  CLI::App app("Remote fork: prepare a process on one machine, resume it on others.", "mitosis");
  app.footer(
      "A program prepares itself through libmitosis (C, C++, Python), or is prepared from "
      "outside:\n"
      "  mitosis prepare --pid 4711 --handler 73 --key-out parent.key\n"
      "Then, for example:\n"
      "  mitosis connect 1 10.0.0.1:7411           # once, on the machine that resumes\n"
      "  mitosis resume 1 73 --key-file parent.key\n"
      "`mitosis demo` shows all of it on this machine.");
  app.set_version_flag("--version", "mitosis " MITOSIS_VERSION);
  app.require_subcommand(1);
  const std::vector<Command> commands = add_commands(app);
  try {
    app.parse(argc, argv);
    for (const Command& command : commands) {
      if (command.app->parsed()) return checked(command.app->get_name(), command.run());
    }
  } catch (const CLI::Error& error) {
    return usage(app, error);
  } catch (const std::system_error& error) {
    if (std::ferror(stdout) == 0) throw;  // else it is fmt's, of more than fits into the buffer
    const Error printed(Errc::system_call_failed, "standard output", error.code().value());
    return fail(app.get_subcommands().front()->get_name().c_str(), Error(printed).in("print"));
  }
  return exit_usage;
}

}  // namespace

}  // namespace mitosis::tools

int main(int argc, char** argv) {
  mitosis::tools::open_missing_streams();
  try {
    return mitosis::tools::run(argc, argv);
  } catch (const std::exception& error) {  // no memory, most likely
    std::fprintf(stderr, "mitosis: %s\n", error.what());
    return mitosis::tools::exit_failed;
  }
}
