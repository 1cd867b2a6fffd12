// SPDX-License-Identifier: MIT
// What a child sits out, where its pages may take a minute: a cable, workers that die. World: user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "ends.hpp"

namespace mitosis::live {
namespace {

using ::testing::StartsWith;

class LongDeadline : public Ends {
 protected:
  LongDeadline() : Ends({"--page-deadline", "60s"}) {}
  /// The children's, as soon as it serves.
  bool kill_worker() {
    const int before = std::exchange(killed_, 0);
    return eventually([&] {
             killed_ = cluster.machines().worker(2);
             return killed_ != 0 && killed_ != before && cluster.run(2, {"nil"}).status == 0;
           }) &&
           ::kill(killed_, SIGKILL) == 0;
  }
  int killed_ = 0;
};

TEST_F(LongDeadline, a_cable_that_was_out_for_a_moment_costs_time_only) {
  Puppet parent = cluster.filled(1, 8192);
  const Prepared prepared = cluster.must_prepare(1, parent, "dct+prefetch8+none+cow");
  Puppet running = cluster.child(2, prepared), child = cluster.child(2, prepared);
  running.tell("tell 0 8192");
  ASSERT_TRUE(reaches(running, 64));
  ASSERT_TRUE(cluster.machines().set_cable(1, false).ok());
  child.tell("tell 0 8192");
  EXPECT_EQ(last_word(child, std::chrono::milliseconds(500)), "silent");
  ASSERT_TRUE(cluster.machines().set_cable(1, true).ok());
  for (Puppet* puppet : {&running, &child}) {
    EXPECT_EQ(last_word(*puppet), "ok");
    EXPECT_EQ(puppet->end(), 0);
  }
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(LongDeadline, the_childrens_worker_dies_again_and_again) {
  Puppet parent = cluster.filled(1, 3000);
  ASSERT_EQ(parent.ask("map 500"), "ok");
  std::vector<Puppet> children;
  std::vector<Prepared> all;
  for (const char* policy :
       {"rc+ondemand+none+cow", "rc+prefetch8+local+cow", "dct+prefetch64+none+copy"}) {
    all.push_back(cluster.must_prepare(1, parent, policy));
    for (int i = 0; i < 2; ++i) children.push_back(cluster.child(2, all.back()));
  }
  for (std::size_t i = 0; i < children.size(); ++i) {
    children[i].tell("stress " + std::to_string(i + 50) + " 5000");
  }
  for (int death = 0; death < 6; ++death) {
    ASSERT_TRUE(kill_worker()) << "no worker after death " << death;
  }
  for (Puppet& child : children) EXPECT_THAT(child.hear(), StartsWith("ok "));
  for (Puppet& child : children) EXPECT_EQ(child.end(), 0);
  Puppet late = cluster.child(2, all[1]);
  EXPECT_EQ(late.ask("check"), "ok 3500");
  EXPECT_EQ(late.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  for (const Prepared& prepared : all) EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

/// What a child forks has one pager, whichever worker hears of it and whatever that is at.
TEST_F(LongDeadline, children_fork_all_the_time_while_their_worker_dies) {
  Puppet parent = cluster.filled(1, 2000);
  const Prepared prepared = cluster.must_prepare(1, parent, "rc+prefetch8+none+cow");
  std::vector<Puppet> children;
  for (int i = 0; i < 6; ++i) {
    children.push_back(cluster.child(2, prepared));
    children.back().tell("forks " + std::to_string(1000 * i) + " 4000");
  }
  for (int death = 0; death < 4; ++death) {
    ASSERT_TRUE(kill_worker()) << "no worker after death " << death;
  }
  for (Puppet& child : children) EXPECT_THAT(child.hear(), StartsWith("ok "));
  for (Puppet& child : children) EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(reclaim(prepared).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_F(LongDeadline, the_parents_worker_dies_and_its_children_go_on) {
  Puppet parent = cluster.filled(1, 12000);
  std::vector<Prepared> all;
  std::vector<Puppet> children;
  for (const char* policy : {"rc+ondemand+none+cow", "dct+prefetch8+local+copy"}) {
    all.push_back(cluster.must_prepare(1, parent, policy));
    children.push_back(cluster.child(2, all.back()));
    children.back().tell("tell 0 12000");
  }
  for (int death = 0; death < 2; ++death) {
    int worker = 0;
    ASSERT_TRUE(eventually([&] {
      worker = cluster.machines().worker(1);
      return worker != 0 && cluster.run(1, {"nil"}).status == 0;
    }));
    ASSERT_TRUE(death > 0 || reaches(children[0], 64));
    ASSERT_EQ(::kill(worker, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return cluster.machines().worker(1) != worker; }));
  }
  for (Puppet& child : children) EXPECT_EQ(last_word(child), "ok");
  for (Puppet& child : children) EXPECT_EQ(child.end(), 0);
  for (const Prepared& prepared : all) {
    Puppet late = cluster.child(2, prepared);
    EXPECT_EQ(late.ask("check"), "ok 12000");
    EXPECT_EQ(late.end(), 0);
    EXPECT_EQ(reclaim(prepared).status, 0) << "it is still the handler's agent";
  }
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

}  // namespace
}  // namespace mitosis::live
