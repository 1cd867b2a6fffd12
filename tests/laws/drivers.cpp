// SPDX-License-Identifier: MIT
// The drivers of the whole matrix, compiled here and nowhere else.
#include "laws.hpp"

#include <mitosis/policy/matrix.hpp>

#include <cstdlib>
#include <vector>

namespace mitosis::laws {

const sim::RunPolicy& driver(PolicyName name) {
  static const std::vector<sim::RunPolicy> drivers = [] {
    std::vector<sim::RunPolicy> all;
    for_each_policy([&]<class P>(std::type_identity<P>) { all.push_back(sim::run_policy<P>()); });
    return all;
  }();
  for (const sim::RunPolicy& d : drivers) {
    if (d.name == name) return d;
  }
  std::abort();
}

}  // namespace mitosis::laws
