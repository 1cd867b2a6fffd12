// SPDX-License-Identifier: MIT
// Access ends by reclaim and by lease, and nothing is kept afterwards. World: user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "ends.hpp"

namespace mitosis::live {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// ---- reclaim ------------------------------------------------------------------------------------

TEST_F(Ends, after_reclaim_a_missing_page_is_sigbus) {
  Puppet parent = cluster.filled(1, 1000);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared), idle = cluster.child(2, prepared);
  ASSERT_EQ(child.ask("read 0 100"), "ok 100");
  ASSERT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(child.ask("read 0 100"), "ok 100") << "what it has is its own";
  EXPECT_EQ(child.ask("write 0 100"), "ok 100");
  EXPECT_EQ(child.ask("touch 500"), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  EXPECT_THAT(agents_log(2), HasSubstr("a child gets SIGBUS: machine 1: handler " +
                                       std::to_string(prepared.handler)));
  idle.process().signal(SIGKILL);
  EXPECT_EQ(idle.end(), by_sigkill);
  const Outcome late = cluster.refused_child(2, prepared);
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.text, HasSubstr("no such handler"));
  EXPECT_EQ(parent.ask("check"), "ok 1000") << "nothing is lost in the parent";
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, the_key_reclaims_from_afar_and_a_wrong_one_does_not) {
  Puppet parent = cluster.filled(1, 100);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  const std::string handler = std::to_string(prepared.handler);
  Puppet child = cluster.child(2, prepared);
  const std::string wrong_key(32, '0');
  const Outcome refused =
      cluster.run(2, {"reclaim", handler, "--machine", "1", "--key", wrong_key});
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.text, HasSubstr("does not open this handler"));
  EXPECT_EQ(child.ask("read 0 50"), "ok 50");
  EXPECT_EQ(cluster.run(2, {"reclaim", handler, "--machine", "1", "--key", prepared.key}).status,
            0);
  EXPECT_EQ(child.ask("touch 70"), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, a_reclaimed_handler_can_be_prepared_again) {
  for (int round = 0; round < 3; ++round) {
    Puppet parent = cluster.filled(1, 64 + 64 * static_cast<unsigned>(round));
    const Prepared prepared = cluster.prepare(1, parent, "rc+prefetch8+local+cow", 73);
    ASSERT_EQ(prepared.failure, "");
    Puppet child = cluster.child(2, prepared);
    EXPECT_THAT(child.ask("check"), StartsWith("ok "));
    EXPECT_EQ(child.end(), 0);
    EXPECT_EQ(parent.ask("reclaim 73"), "ok");
    EXPECT_EQ(parent.end(), 0);
  }
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Ends, a_parent_that_does_not_call_again_keeps_no_zombie) {
  Puppet parent = cluster.filled(1, 100);
  const int pid = parent.process().pid();
  const Prepared first = cluster.must_prepare(1, parent), second = cluster.must_prepare(1, parent);
  ASSERT_EQ(testbed::children_of(pid).size(), 2u);
  ASSERT_EQ(reclaim(first).status, 0);
  EXPECT_TRUE(eventually([&] { return testbed::children_of(pid).size() == 1; }));
  Puppet child = cluster.child(2, second);
  EXPECT_EQ(child.ask("check"), "ok 100") << "the other shadow is left alone";
  EXPECT_EQ(child.end(), 0);
  ASSERT_EQ(reclaim(second).status, 0);
  EXPECT_TRUE(eventually([&] { return testbed::children_of(pid).empty(); }));
  EXPECT_EQ(parent.ask("check"), "ok 100");
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

// ---- leases -------------------------------------------------------------------------------------

class Leases : public Ends {
 protected:
  Leases() : Ends({"--lease", "1s"}) {}
};

TEST_F(Leases, an_orphan_without_children_ends_and_one_with_them_does_not) {
  Puppet used = cluster.filled(1, 300), unused = cluster.filled(1, 300);
  const Prepared kept = cluster.must_prepare(1, used, no_prefetch);
  Puppet child = cluster.child(2, kept);
  EXPECT_EQ(used.end(), 0);
  // The other one's lease is over after at least as long, so the first one's was renewed.
  const Prepared orphan = cluster.must_prepare(1, unused, no_prefetch);
  EXPECT_EQ(unused.end(), 0);
  const std::string its_row = "\"handler\": " + std::to_string(orphan.handler);
  EXPECT_TRUE(eventually([&] { return listed(1).find(its_row) == std::string::npos; }));
  EXPECT_THAT(cluster.refused_child(2, orphan).text, HasSubstr("no such handler"));
  EXPECT_EQ(child.ask("check"), "ok 300");
  EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "") << "the first one's lease ends with its last child";
}

// ---- nothing is kept ----------------------------------------------------------------------------

/// One pager thread: with more, connections are opened whenever one of them first needs some.
class OnePager : public Ends {
 protected:
  OnePager() : Ends({"--pagers", "1"}) {}
};

TEST_F(OnePager, rounds_of_everything_leave_no_descriptor_open) {
  Puppet parent = cluster.filled(1, 200);
  const auto round = [&](const char* policy) {
    const Prepared prepared = cluster.must_prepare(1, parent, policy);
    Puppet child = cluster.child(2, prepared), killed = cluster.child(2, prepared);
    EXPECT_EQ(child.ask("fork 1 10"), "ok");
    EXPECT_EQ(killed.ask("read 0 50"), "ok 50");
    killed.process().signal(SIGKILL);
    EXPECT_EQ(killed.end(), by_sigkill);
    const Prepared second = cluster.must_prepare(2, child);
    Puppet beside = cluster.child(2, second);
    EXPECT_EQ(beside.ask("check"), "ok 200");
    EXPECT_EQ(beside.end(), 0);
    EXPECT_EQ(child.end(), 0);
    EXPECT_EQ(cluster.run(2, {"reclaim", std::to_string(second.handler)}).status, 0);
    EXPECT_EQ(reclaim(prepared).status, 0);
    Prepared wrong = prepared;
    wrong.key = std::string(32, '1');
    EXPECT_EQ(cluster.refused_child(2, wrong).status, 125);
  };
  const char* policies[] = {"rc+ondemand+none+cow", "dct+prefetch8+none+copy", "rc+eager+none+cow"};
  for (const char* policy : policies) round(policy);
  const auto open = [&](std::uint32_t k) {
    return testbed::descriptors_of(cluster.machines().agent(k).process().pid());
  };
  int before[2] = {1 << 20, 1 << 20};  // the least that is seen while the first ones' ends settle
  (void)eventually(
      [&] {
        for (std::uint32_t k : {1u, 2u}) before[k - 1] = std::min(before[k - 1], open(k));
        return false;
      },
      std::chrono::milliseconds(1500));
  for (int i = 0; i < 3; ++i) {
    for (const char* policy : policies) round(policy);
  }
  for (std::uint32_t k : {1u, 2u}) {
    EXPECT_TRUE(eventually([&] { return open(k) <= before[k - 1]; }, std::chrono::seconds(20)))
        << "machine " << k << ": " << before[k - 1] << " descriptors before, now " << open(k);
  }
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

}  // namespace
}  // namespace mitosis::live
