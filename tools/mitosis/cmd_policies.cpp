// SPDX-License-Identifier: MIT
// `mitosis policies`: what may be chosen, and what each word means. World: user.
#include <fmt/format.h>

#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/name.hpp>

#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <vector>

#include "command.hpp"
#include "option.hpp"
#include "policy_words.hpp"
#include "table.hpp"

namespace mitosis::tools {

namespace {

struct PoliciesArguments {
  bool json = false;
  bool all = false;
};

std::vector<std::string> compiled_names() {
  std::vector<std::string> names;
  for (const PolicyName& name : FullMatrix::names) names.emplace_back(format(name).c_str());
  return names;
}

void print_json() {
  nlohmann::json axes = nlohmann::json::array();
  for (const PolicyAxis& axis : policy_axes()) {
    nlohmann::json words = nlohmann::json::array();
    for (const PolicyWord& word : axis.words) {
      words.push_back({{"word", word.word}, {"default", word.is_default}, {"means", word.means}});
    }
    axes.push_back({{"axis", axis.name}, {"words", words}});
  }
  const nlohmann::json out = {
      {"default", format(PolicyName{}).c_str()}, {"axes", axes}, {"policies", compiled_names()}};
  fmt::print("{}\n", out.dump(2));
}

void print_text(bool all) {
  Table table({"AXIS", "WORD", "", "MEANS"});
  for (const PolicyAxis& axis : policy_axes()) {
    const char* title = axis.name;
    for (const PolicyWord& word : axis.words) {
      table.add({title, word.word, word.is_default ? "default" : "", word.means});
      title = "";
    }
  }
  fmt::print(
      "{}\nA policy's name joins one word of each axis by +, in any order; an axis left out "
      "has its default.\nThe default in full: {}. {} combinations are compiled in: all but "
      "dct+prefetch512.\n",
      table.text(), format(PolicyName{}).c_str(), FullMatrix::size);
  if (!all) {
    fmt::print("`mitosis policies --all` lists them.\n");
    return;
  }
  fmt::print("\n");
  for (const std::string& name : compiled_names()) fmt::print("{}\n", name);
}

}  // namespace

Command add_policies(CLI::App& root) {
  CLI::App* app = root.add_subcommand("policies", "List the policies and what their words mean");
  app->footer(
      "Examples:\n"
      "  mitosis policies\n"
      "  mitosis policies --json | jq -r '.policies[]'");
  auto arguments = std::make_shared<PoliciesArguments>();
  app->add_flag("--all", arguments->all, "list every combination, too");
  add_json(*app, arguments->json);
  return {app, [arguments]() -> int {
            if (arguments->json) {
              print_json();
            } else {
              print_text(arguments->all);
            }
            return exit_ok;
          }};
}

}  // namespace mitosis::tools
