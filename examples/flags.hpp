// SPDX-License-Identifier: MIT
// parse_flags: the examples' command lines. World: user. The original's flags have one dash
// (-mac_id=0), CLI11's two; both are understood.
#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

/// True where they are understood; else prints why not, or the help, and `status` is what main is
/// to return: 2, or 0 after the help.
inline bool parse_flags(CLI::App& app, int argc, char** argv, int& status) {
  app.name(argv[0]);
  std::vector<std::string> words;
  for (int i = argc - 1; i > 0; --i) {  // CLI11 takes them last to first
    std::string word = argv[i];
    if (word.size() > 2 && word[0] == '-' && word[1] != '-') word.insert(0, "-");
    words.push_back(std::move(word));
  }
  try {
    app.parse(std::move(words));
    return true;
  } catch (const CLI::ParseError& error) {
    status = app.exit(error) == 0 ? 0 : 2;
    return false;
  }
}
