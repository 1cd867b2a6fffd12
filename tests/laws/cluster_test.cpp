// SPDX-License-Identifier: MIT
// A cluster of a thousand machines: ten thousand children, twice the same run.
#include "laws.hpp"

#include <mitosis/fork/sim/cluster.hpp>
#include <mitosis/policy/policy.hpp>

#include <gtest/gtest.h>

#include <cstdint>

namespace mitosis::laws {
namespace {

struct Outcome {
  std::uint64_t trace = 0, events = 0, connects = 0;
  int right = 0, wrong = 0, children = 0;
  Time took{};
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

/// Every machine resumes `each` children of one parent; each child reads four pages and exits.
template <class P>
Outcome run(std::size_t machines, int each, std::uint64_t seed) {
  Outcome out;
  sim::Cluster cluster(machines + 1, seed);
  const auto parent = cluster[0].start();
  parent->map({PageNumber{16}, 32});
  for (std::uint64_t i = 0; i < 32; ++i) parent->write(PageNumber{16 + i}, 100 + i);
  const sim::Ticket ticket = *cluster[0].prepare(*parent, HandlerId{1}, true);
  for (std::size_t m = 1; m <= machines; ++m) {
    for (int i = 0; i < each; ++i) {
      cluster.resume(m, ticket, driver(name_of<P>), [&, m](auto resumed) {
        if (!resumed) return;
        ++out.children;
        auto child = resumed.value();
        auto left = std::make_shared<int>(4);
        for (std::uint64_t page = 16; page < 48; page += 8) {
          child->read(PageNumber{page}, [&, m, child, page, left](sim::Access how, auto stamp) {
            ++(how == sim::Access::ok && stamp == 100 + page - 16 ? out.right : out.wrong);
            if (--*left == 0) cluster[m].exit(child);
          });
        }
      });
    }
  }
  cluster.run();
  out.trace = cluster.events().trace_hash();
  out.events = cluster.events().events();
  return out;
}

TEST(ThousandMachines, TenThousandChildrenTwiceTheSame) {
  using P = Policy<Transport<DCT>, Fetch<Prefetch<1>>, Cache<Local>>;
  const Outcome first = run<P>(1000, 10, 7);
  EXPECT_EQ(first.children, 10'000);
  EXPECT_EQ(first.right, 40'000);
  EXPECT_EQ(first.wrong, 0);
  EXPECT_EQ(first, run<P>(1000, 10, 7));
  EXPECT_NE(first.trace, run<P>(1000, 10, 8).trace) << "the seed has no effect";
}

}  // namespace
}  // namespace mitosis::laws
