// SPDX-License-Identifier: MIT
// apply_config: a TOML file's entries as options of one subcommand. World: user.
// CLI11 reads configuration files for the root command alone; a file of `mitosis agent` should not
// need a section header, and a misspelt entry must not pass silently.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

namespace mitosis::tools {

/// Each `name = value` sets --name, unless the command line did. Throws a CLI::Error that names the
/// entry where there is no such option or the value is refused, or where the file cannot be read.
inline void apply_config(CLI::App& command, const std::string& path) {
  const auto wrong = [&path](const std::string& why) {
    return CLI::ConfigError(path + ": " + why, CLI::ExitCodes::ConfigError);
  };
  for (const CLI::ConfigItem& item : CLI::ConfigTOML().from_file(path)) {
    if (item.name == "++" || item.name == "--") {  // a section begins or ends
      throw wrong("remove the section header [" + item.parents.back() + "]");
    }
    CLI::Option* option = command.get_option_no_throw("--" + item.name);
    if (option == nullptr || !option->get_configurable()) {
      throw wrong("there is no option `" + item.fullname() + "`");
    }
    if (option->count() > 0) continue;
    try {
      for (const std::string& value : item.inputs) option->add_result(value);
      option->run_callback();
    } catch (const CLI::Error& error) {
      throw wrong(error.what());
    }
  }
}

}  // namespace mitosis::tools
