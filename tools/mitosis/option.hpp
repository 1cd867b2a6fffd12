// SPDX-License-Identifier: MIT
// Options that several subcommands share, and how a typed one is added. World: user.
#pragma once

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <mitosis/base/describe.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/local/connect.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace mitosis::tools {

/// An option whose text `parse` turns into a T; what it refuses is a usage error.
template <class T, class Parse>
CLI::Option* add_parsed(CLI::App& app, const std::string& name, T& into, Parse parse,
                        const std::string& help) {
  return app.add_option_function<std::string>(
      name,
      [name, &into, parse](const std::string& text) {
        auto value = parse(std::string_view(text));
        if (!value) throw CLI::ValidationError(name, describe(value.error()));
        into = std::move(*value);
      },
      help);
}

/// --socket: where this machine's agent listens.
inline void add_socket(CLI::App& app, std::string& path) {
  path = local::socket_path();
  app.add_option("--socket", path,
                 "the local agent's socket (default: $MITOSIS_SOCKET, else " +
                     std::string(local::default_socket) + ")")
      ->type_name("PATH");
}

/// --json: machine-readable output.
inline void add_json(CLI::App& app, bool& json) {
  app.add_flag("--json", json, "print JSON on standard output instead of text");
}

/// The one line on stderr that a failure is; returns `status`.
inline int fail(const char* command, const Error& error, int status = 1) {
  fmt::print(stderr, "mitosis {}: {}\n", command, describe(error));
  return status;
}

}  // namespace mitosis::tools
