// SPDX-License-Identifier: MIT
// Module: mitosis.ko in the agents' place, for the same tests: what the environment says of it
// (tests/vm/module_laws.py). World: user.
//   MITOSIS_LIVE_MODULE     the program that makes one call of the device: tests/vm/module_call.c
//   MITOSIS_LIVE_POLICY     the policy that the module was built of, as "rc+prefetch8+none+cow"
//   MITOSIS_LIVE_ELSEWHERE  words before a program that is to run on the other machine, whose
//                           module counts itself as 1, this one's as 0. Without them all of a
//                           test's machines are this one.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

namespace mitosis::live::module {

inline std::vector<std::string> words(const char* variable) {
  const char* const text = std::getenv(variable);
  std::istringstream from(text != nullptr ? text : "");
  std::vector<std::string> all;
  for (std::string word; from >> word;) all.push_back(word);
  return all;
}

/// Whether the tests run on it.
inline bool is_tested() {
  return std::getenv("MITOSIS_LIVE_MODULE") != nullptr;
}

/// The policies that a suite runs with: the module has one.
inline std::vector<std::string> policies(std::vector<std::string> of_agents) {
  return is_tested() ? words("MITOSIS_LIVE_POLICY") : of_agents;
}

/// Where there are two machines, a test's machines are in turn one of them.
inline bool is_elsewhere(std::uint32_t k) {
  return k % 2 == 0;
}

/// A program's words on machine k.
inline std::vector<std::string> on(std::uint32_t k, std::vector<std::string> program) {
  std::vector<std::string> all;
  if (is_elsewhere(k)) all = words("MITOSIS_LIVE_ELSEWHERE");
  all.insert(all.end(), program.begin(), program.end());
  return all;
}

/// A call of the device on machine k.
inline std::vector<std::string> call(std::uint32_t k, std::vector<std::string> call) {
  call.insert(call.begin(), std::getenv("MITOSIS_LIVE_MODULE"));
  return on(k, std::move(call));
}

/// How it calls the machine of a parent: below zero where there is one alone.
inline std::string name_of(std::uint32_t k) {
  if (words("MITOSIS_LIVE_ELSEWHERE").empty()) return "-1";
  return is_elsewhere(k) ? "1" : "0";
}

}  // namespace mitosis::live::module
