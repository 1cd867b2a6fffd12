// SPDX-License-Identifier: MIT
// policy_axes: the compiled policies' words, axis by axis, explained. World: user.
// The prefetch depths come from the matrix, so that this cannot promise what isn't compiled.
#pragma once

#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/name.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::tools {

struct PolicyWord {
  std::string word;
  bool is_default = false;
  std::string means;
};
struct PolicyAxis {
  const char* name;
  std::vector<PolicyWord> words;
};

/// The depths that some compiled policy has, ascending.
inline std::vector<unsigned> prefetch_depths() {
  std::vector<unsigned> depths;
  for (const PolicyName& name : FullMatrix::names) {
    if (name.fetch == FetchKind::prefetch) depths.push_back(name.prefetch);
  }
  std::sort(depths.begin(), depths.end());
  depths.erase(std::unique(depths.begin(), depths.end()), depths.end());
  return depths;
}

inline std::vector<PolicyAxis> policy_axes() {
  std::vector<PolicyWord> fetch = {{"ondemand", false, "the faulting page alone"}};
  for (const unsigned depth : prefetch_depths()) {
    const std::string n = std::to_string(depth);
    fetch.push_back({"prefetch" + n, depth == PolicyName{}.prefetch,
                     "the faulting page first, and with the same request the next " + n +
                         (depth == 1 ? " page" : " pages") + " of its mapping"});
  }
  fetch.push_back({"eager", false, "every page before the first instruction"});
  return {
      {"transport",
       {{"rc", true, "one connection to each peer, pooled and shared by the children"},
        {"dct", false,
         "a few connections reach any number of peers; access ends with the target"}}},
      {"fetch", std::move(fetch)},
      {"cache",
       {{"none", true, "each child has its own pages"},
        {"local", false,
         "the machine keeps fetched pages, and all children of a parent share them"}}},
      {"cow",
       {{"cow", true, "prepare freezes the parent by copy-on-write: short, the parent pays later"},
        {"copy", false, "prepare copies all pages: long, the parent pays nothing later"}}},
      {"profile",
       {{"noprofile", true, "nothing is measured, at no cost"},
        {"profile", false, "each step is counted and timed; see `mitosis stats`"}}},
  };
}

}  // namespace mitosis::tools
