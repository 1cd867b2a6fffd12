// SPDX-License-Identifier: MIT
// A combination of one's own that no tool has compiled in, in a list of one's own, chosen by its
// name and run: machine 0 prepares a process, machine 1 resumes it. World: sim.
#include <mitosis/base/describe.hpp>
#include <mitosis/fork/sim/cluster.hpp>
#include <mitosis/policy/list.hpp>
#include <mitosis/policy/parse.hpp>

#include <cstdio>
#include <string_view>

using namespace mitosis;

// 24 pages ahead, over shared endpoints; axes that are not named have their defaults.
using Mine = Policy<Fetch<Prefetch<24>>, Cache<Local>, Transport<DCT>>;
static_assert(LegalPolicy<Mine> && Mine::prefetch == 24);
// DCT's send queue takes 128 requests with one doorbell: this one would not compile.
static_assert(!LegalPolicy<Policy<Transport<DCT>, Fetch<Prefetch<200>>>>);
using Compiled = PolicyList<Mine, Policy<Fetch<Eager>>>;

/// What a child with this policy reads at the page where its parent wrote 42 before prepare.
template <class P>
std::uint64_t value_in_child() {
  const PageNumber page{16};
  sim::Cluster cluster(2, /*seed=*/1);
  const auto parent = cluster[0].start();
  parent->map({page, 64});
  parent->write(page, 42);
  const sim::Ticket ticket = *cluster[0].prepare(*parent, HandlerId{73}, P::copy_on_write);
  parent->write(page, 43);  // after prepare: the child never sees it
  std::uint64_t value = 0;
  cluster.resume(1, ticket, sim::run_policy<P>(), [&](auto child) {
    if (child) child.value()->read(page, [&](sim::Access, std::uint64_t read) { value = read; });
  });
  cluster.run();
  return value;
}

int main() {
  const char* const names[] = {"dct+prefetch24+local", "eager", "rc+ondemand"};
  for (const std::string_view name : names) {
    const auto value = Compiled::dispatch(*parse_policy(name), [](auto policy) {
      return value_in_child<typename decltype(policy)::type>();
    });
    if (value && *value != 42) return 1;
    std::printf("%s: %s\n", name.data(), value ? "read 42" : describe(value.error()).c_str());
  }
}
