// SPDX-License-Identifier: MIT
// Every part dies in turn, with SIGKILL, a cable or in order. World: user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "ends.hpp"

namespace mitosis::live {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

using Deaths = Ends;

TEST_F(Deaths, a_machine_that_dies_in_mid_transfer) {
  Puppet parent = cluster.filled(1, 16384);
  const Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+none+cow");
  Puppet child = cluster.child(2, prepared), other = cluster.child(2, prepared);
  child.tell("tell 0 16384");
  other.tell("tell 8000 8000");
  ASSERT_TRUE(reaches(child, 640));
  cluster.machines().crash(1);
  for (Puppet* puppet : {&child, &other}) {
    EXPECT_THAT(last_word(*puppet, std::chrono::seconds(30)), AnyOf("ended", "ok"));
    EXPECT_THAT(puppet->end(std::chrono::seconds(30)), AnyOf(0, by_sigbus));
  }
  EXPECT_EQ(parent.ask("check"), "ok 16384") << "it lives, its agent does not";
  const Outcome late = cluster.refused_child(2, prepared);
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.text, HasSubstr("machine 1: "));
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "") << "its shadow has gone with it";
  ASSERT_TRUE(cluster.machines().start(1).ok());
  EXPECT_THAT(cluster.refused_child(2, prepared).text, HasSubstr("no such handler"));
}

TEST_F(Deaths, the_next_agent_has_a_killed_ones_shadows_reaped) {
  Puppet parent = cluster.filled(1, 100);
  const int pid = parent.process().pid();
  (void)cluster.must_prepare(1, parent);
  (void)cluster.must_prepare(1, parent);
  cluster.machines().crash(1);
  EXPECT_EQ(testbed::children_of(pid).size(), 2u) << "nobody is there to do it";
  ASSERT_TRUE(cluster.machines().start(1).ok());
  EXPECT_TRUE(eventually([&] { return testbed::children_of(pid).empty(); }));
  EXPECT_EQ(parent.ask("check"), "ok 100");
  EXPECT_EQ(parent.end(), 0);
}

TEST_F(Deaths, a_machine_that_falls_silent) {
  Puppet parent = cluster.filled(1, 8192);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet running = cluster.child(2, prepared), child = cluster.child(2, prepared),
         killed = cluster.child(2, prepared);
  running.tell("tell 0 8192");
  ASSERT_TRUE(reaches(running, 64));
  ASSERT_TRUE(cluster.machines().set_cable(1, false).ok());
  child.tell("tell 0 8192");
  killed.tell("tell 0 8192");
  EXPECT_EQ(last_word(killed, std::chrono::milliseconds(200)), "silent");
  killed.process().signal(SIGKILL);
  EXPECT_EQ(killed.end(std::chrono::seconds(20)), by_sigkill) << "it stays killable in a fault";
  EXPECT_EQ(last_word(child, std::chrono::seconds(30)), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  // On a busy machine it may have read all before the cable was out.
  const bool read_all = last_word(running, std::chrono::seconds(30)) == "ok";
  EXPECT_EQ(running.end(), read_all ? 0 : by_sigbus);
  const auto before = Clock::now();
  const Outcome late = cluster.refused_child(2, prepared);
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.text, HasSubstr("machine 1: "));
  EXPECT_LT(Clock::now() - before, std::chrono::seconds(40));
  ASSERT_TRUE(cluster.machines().set_cable(1, true).ok());
  Puppet again = cluster.child(2, prepared);
  EXPECT_EQ(again.ask("check"), "ok 8192");
  EXPECT_EQ(again.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Deaths, the_keeper_dies_and_takes_the_children_along) {
  Puppet parent = cluster.filled(1, 2000);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  child.tell("stress 4 60000");
  Puppet idle = cluster.child(2, prepared);
  cluster.machines().agent(2).process().signal(SIGKILL);
  for (Puppet* puppet : {&child, &idle}) {
    EXPECT_EQ(puppet->hear(), "ended");
    EXPECT_EQ(puppet->end(), by_sigkill);
  }
  cluster.machines().stop(2);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

/// Nobody but the guard then holds the userfaultfd of a process that a child has forked: closed, it
/// would read zeros.
TEST_F(Deaths, keeper_and_worker_die_at_once) {
  Puppet parent = cluster.filled(1, 2000);
  std::vector<Prepared> all;
  std::vector<Puppet> children;
  for (const char* policy : {no_prefetch, "dct+ondemand+local+cow"}) {
    all.push_back(cluster.must_prepare(1, parent, policy));
    children.push_back(cluster.child(2, all.back()));
    EXPECT_EQ(children.back().ask("orphan 1500"), "ok");
  }
  const int keeper = cluster.machines().agent(2).process().pid();
  const int worker = cluster.machines().worker(2);
  ASSERT_NE(worker, 0);
  ASSERT_EQ(::kill(keeper, SIGSTOP), 0);  // it must not see the worker go
  ASSERT_EQ(::kill(worker, SIGSTOP), 0);
  ASSERT_EQ(::kill(keeper, SIGKILL), 0);
  ASSERT_EQ(::kill(worker, SIGKILL), 0);
  for (Puppet& child : children) {
    EXPECT_EQ(child.hear(), "ended") << "neither it nor its orphan has read a wrong byte";
    EXPECT_EQ(child.end(), by_sigkill);
  }
  cluster.machines().stop(2);
  EXPECT_EQ(parent.end(), 0);
  for (const Prepared& prepared : all) EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "") << "the guard has gone too";
}

TEST_F(Deaths, the_guard_dies_and_is_replaced) {
  Puppet parent = cluster.filled(1, 200);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  const auto guard = [this] {
    for (const int pid : testbed::children_of(cluster.machines().agent(2).process().pid())) {
      if (testbed::name_of(pid) == "mitosis-guard" && testbed::state_of(pid) != 'Z') return pid;
    }
    return 0;
  };
  const int first = guard();
  ASSERT_NE(first, 0);
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return guard() != 0 && guard() != first; }));
  EXPECT_EQ(child.ask("check"), "ok 200");
  EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Deaths, an_agent_that_is_told_to_end_leaves_nothing) {
  Puppet parent = cluster.filled(1, 500);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  EXPECT_EQ(child.ask("read 0 10"), "ok 10");
  cluster.machines().stop(2);
  EXPECT_EQ(child.end(), by_sigkill);
  cluster.machines().stop(1);
  EXPECT_EQ(parent.ask("check"), "ok 500");
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Deaths, a_shadow_that_is_killed) {
  Puppet parent = cluster.filled(1, 500);
  const Prepared prepared = cluster.must_prepare(1, parent, no_prefetch);
  Puppet child = cluster.child(2, prepared);
  EXPECT_EQ(child.ask("read 0 10"), "ok 10");
  int shadow = 0;
  for (const int pid : cluster.strangers(1)) {
    if (testbed::name_of(pid) == "mitosis-shadow") shadow = pid;
  }
  ASSERT_NE(shadow, 0);
  ASSERT_EQ(::kill(shadow, SIGKILL), 0);
  ASSERT_TRUE(eventually([&] {
    const char state = testbed::state_of(shadow);
    return state == 'Z' || state == '\0';
  }));
  EXPECT_EQ(child.ask("touch 400"), "ended");
  EXPECT_EQ(child.end(), by_sigbus);
  EXPECT_EQ(parent.ask("check"), "ok 500");
  EXPECT_EQ(parent.end(), 0);
  (void)reclaim(prepared);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(Deaths, a_frozen_child_harms_nobody) {
  Puppet parent = cluster.filled(1, 2000);
  const Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+local+cow");
  Puppet frozen = cluster.child(2, prepared), other = cluster.child(2, prepared);
  frozen.tell("tell 0 2000");
  ASSERT_TRUE(reaches(frozen, 64));
  frozen.process().signal(SIGSTOP);
  EXPECT_EQ(other.ask("check"), "ok 2000");
  frozen.process().signal(SIGCONT);
  EXPECT_EQ(last_word(frozen), "ok");
  frozen.process().signal(SIGSTOP);
  EXPECT_EQ(other.end(), 0);
  frozen.process().signal(SIGKILL);
  EXPECT_EQ(frozen.end(), by_sigkill);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

}  // namespace
}  // namespace mitosis::live
