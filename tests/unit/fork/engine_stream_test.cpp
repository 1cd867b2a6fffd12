// SPDX-License-Identifier: MIT
// Reading ahead: a sequential reader gets more windows, a random one its window and no more.
#include "scene.hpp"

#include <set>

namespace mitosis::test {
namespace {

using Window8 = Policy<Fetch<Prefetch<8>>>;

/// Pages planned by a fault and by reading ahead after it; no doorbell may ring for more than
/// N + 1 of them.
std::uint64_t planned(Loaded<Window8>& t, std::uint64_t n, std::vector<OpId>& out) {
  std::uint64_t sum = 0;
  t.fault(n);
  do {
    std::uint64_t doorbell = 0;
    for (unsigned i = 0; i < t.plan.count; ++i) {
      doorbell += t.plan.reads[i].pages.count;
      out.push_back(t.plan.reads[i].op);
    }
    EXPECT_LE(doorbell, 9u);
    sum += doorbell;
    t.engine.read_ahead(t.shelf, t.plan);
  } while (t.plan.count > 0);
  return sum;
}

TEST(Stream, ARandomReaderGetsItsWindowOnly) {
  Loaded<Window8> t;
  for (const std::uint64_t n : {380u, 340u, 300u, 260u, 220u}) {
    std::vector<OpId> out;
    EXPECT_EQ(planned(t, n, out), 9u);
    for (const OpId id : out) t.complete(id);
  }
}

TEST(Stream, ASequentialReaderGetsDeeperAndDeeper) {
  Loaded<Window8> t;
  std::vector<std::uint64_t> steps;
  for (std::uint64_t n = 200; n < 390;) {
    std::vector<OpId> out;
    const std::uint64_t pages = planned(t, n, out);
    steps.push_back(pages);
    for (const OpId id : out) t.complete(id);
    n += pages;  // the reader has used everything up
  }
  ASSERT_GE(steps.size(), 4u);
  EXPECT_EQ(steps[0], 9u);
  EXPECT_EQ(steps[1], 17u);  // two windows
  EXPECT_EQ(steps[2], 33u);  // four
  EXPECT_EQ(steps[3], 65u);  // eight
}

TEST(Stream, AFaultInFlightPostsTheNextWindow) {
  Loaded<Window8> t;
  std::vector<OpId> out;
  planned(t, 200, out);
  out.clear();
  planned(t, 209, out);  // past the first window: the reader is sequential
  out.clear();
  // It has come to a page that is on its way, one window on: the wire must not run dry.
  EXPECT_GT(planned(t, 219, out), 0u);
}

TEST(Stream, NothingIsAskedForTwice) {
  Loaded<Window8> t;
  std::set<PageNumber> asked;
  std::vector<OpId> out;
  for (std::uint64_t n = 200; n < 399; ++n) {
    t.fault(n);
    do {
      for (unsigned i = 0; i < t.plan.count; ++i) {
        const Read& read = t.plan.reads[i];
        for (std::uint64_t k = 0; k < read.pages.count; ++k) {
          EXPECT_TRUE(asked.insert(read.pages.first + k).second);
        }
        out.push_back(read.op);
      }
      t.engine.read_ahead(t.shelf, t.plan);
    } while (t.plan.count > 0);
    if (n % 20 == 0) {
      for (const OpId id : out) t.complete(id);
      out.clear();
    }
  }
}

}  // namespace
}  // namespace mitosis::test
