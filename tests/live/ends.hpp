// SPDX-License-Identifier: MIT
// Ends: two machines, and what the tests of ends and deaths ask of a child. World: user.
// A child may finish, or get SIGBUS within the page deadline; it never reads a wrong byte, never
// sleeps for ever, and nothing is left of it.
#pragma once

#include <gtest/gtest.h>

#include <signal.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "cluster.hpp"

namespace mitosis::live {

inline constexpr int by_sigbus = 128 + SIGBUS, by_sigkill = 128 + SIGKILL;
inline constexpr const char* no_prefetch =
    "rc+ondemand+none+cow";  // a page not asked for is not there

/// Lines of `tell` until it has come to page `page`; false if it does not.
inline bool reaches(Puppet& child, int page) {
  while (true) {
    const auto [word, number] = split(child.hear());
    if (word != "at") return false;
    if (std::stoi(number) >= page) return true;
  }
}
/// The last word of a child that is in the middle of `tell`: "ok", "ended", "wrong", "silent".
inline std::string last_word(Puppet& child, std::chrono::milliseconds silence = patience) {
  while (true) {
    const std::string word = split(child.hear(Clock::now() + silence)).first;
    if (word != "at") return word;
  }
}

class Ends : public ::testing::Test {
 protected:
  explicit Ends(std::vector<std::string> extra = {"--page-deadline", "2s"})
      : cluster(2, std::move(extra)) {
    cluster.introduce(2, 1);
  }
  [[nodiscard]] Outcome reclaim(const Prepared& prepared) {
    return cluster.run(1, {"reclaim", std::to_string(prepared.handler)});
  }
  [[nodiscard]] std::string listed(std::uint32_t k) {
    return cluster.run(k, {"ps", "--json"}).text;
  }
  [[nodiscard]] std::string agents_log(std::uint32_t k) {
    std::ifstream file(cluster.machines().agent(k).log());
    return {std::istreambuf_iterator<char>(file), {}};
  }
  Cluster cluster;
};

}  // namespace mitosis::live
