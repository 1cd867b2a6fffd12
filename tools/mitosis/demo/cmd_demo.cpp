// SPDX-License-Identifier: MIT
#include "../command.hpp"
namespace mitosis::tools {
Command add_demo(CLI::App& root) { return {root.add_subcommand("demo", "x"), [] { return 1; }}; }
}
