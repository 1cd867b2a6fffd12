// SPDX-License-Identifier: MIT
// Command: one subcommand of `mitosis`, and the list of them. World: user.
// Each cmd_<name>.cpp registers its options with CLI11 and hands back what to run; main.cpp runs
// the one that was given.
#pragma once

#include <CLI/CLI.hpp>

#include <functional>

namespace mitosis::tools {

/// What every subcommand exits with, unless its help says otherwise.
enum ExitStatus : int {
  exit_ok = 0,
  exit_failed = 1,         ///< it was not done; the reason is on stderr
  exit_usage = 2,          ///< the command line or a configuration file is wrong
  exit_not_resumed = 125,  ///< a child failed before its first instruction
};

struct Command {
  CLI::App* app = nullptr;   ///< owned by its parent
  std::function<int()> run;  ///< once the options are parsed; returns the exit status
};

Command add_agent(CLI::App& root);
Command add_connect(CLI::App& root);
Command add_prepare(CLI::App& root);
Command add_resume(CLI::App& root);
Command add_run(CLI::App& root);
Command add_spawn(CLI::App& root);
Command add_ps(CLI::App& root);
Command add_reclaim(CLI::App& root);
Command add_policies(CLI::App& root);
Command add_stats(CLI::App& root);
Command add_nics(CLI::App& root);
Command add_nil(CLI::App& root);
Command add_demo(CLI::App& root);

}  // namespace mitosis::tools
