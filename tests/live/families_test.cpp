// SPDX-License-Identifier: MIT
// Many children of one parent, and children of children, over up to three machines. World: user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cluster.hpp"
#include "module.hpp"

namespace mitosis::live {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Families : public ::testing::TestWithParam<std::string> {
 protected:
  [[nodiscard]] std::string policy() const { return GetParam(); }
};

TEST_P(Families, children_one_after_the_other_and_at_once) {
  Cluster cluster;
  cluster.introduce(2, 1);
  Puppet parent = cluster.filled(1, 200);
  const Prepared prepared = cluster.must_prepare(1, parent, policy());
  for (int i = 0; i < 20; ++i) {
    Puppet child = cluster.child(2, prepared);
    EXPECT_EQ(child.ask("check"), "ok 200");
    EXPECT_EQ(child.ask("write 0 200"), "ok 200");
    ASSERT_EQ(child.end(), 0) << "child " << i;
  }
  std::vector<Puppet> children;
  for (int i = 0; i < 8; ++i) children.push_back(cluster.start_child(2, prepared));
  for (Puppet& child : children) {
    EXPECT_THAT(child.hear(), StartsWith("child "));
    child.tell("stress 3 300");
  }
  for (Puppet& child : children) EXPECT_THAT(child.hear(), StartsWith("ok "));
  for (Puppet& child : children) EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_P(Families, the_agent_spawns_children_by_itself) {
  if (module::is_tested()) GTEST_SKIP() << "a module starts no processes";
  Cluster cluster;
  cluster.introduce(2, 1);
  Puppet parent = cluster.filled(1, 200);
  const Prepared prepared = cluster.must_prepare(1, parent, policy());
  // With /dev/null as input each checks its memory and exits.
  const Outcome spawned = cluster.run(2, {"spawn", "1", std::to_string(prepared.handler), "--key",
                                          prepared.key, "--count", "8", "--null", "--json"});
  EXPECT_EQ(spawned.status, 0) << spawned.text;
  std::size_t ended_well = 0;
  for (std::size_t at = 0; (at = spawned.text.find("\"status\":0", at)) != std::string::npos;
       ++at) {
    ++ended_well;
  }
  EXPECT_EQ(ended_well, 8u) << spawned.text;
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_P(Families, grandchildren_read_from_whoever_holds_the_page) {
  Cluster cluster(3);
  cluster.introduce(2, 1);
  cluster.introduce(3, 2);  // 3 learns from the descriptor where 1 is
  Puppet parent = cluster.filled(1, 1000);
  ASSERT_EQ(parent.ask("map 200"), "ok");
  const Prepared first = cluster.must_prepare(1, parent, policy());

  // A child that has some pages, has changed some, and has removed some it never had.
  Puppet child = cluster.child(2, first);
  ASSERT_EQ(child.ask("read 0 100"), "ok 100");
  ASSERT_EQ(child.ask("write 50 150"), "ok 150");
  ASSERT_EQ(child.ask("drop 180 120"), "ok 120");
  const Prepared second = cluster.must_prepare(2, child);
  ASSERT_EQ(child.ask("write 0 1000"), "ok 1000");
  ASSERT_EQ(parent.ask("write 0 1000"), "ok 1000");
  Puppet grandchild = cluster.child(3, second);
  EXPECT_EQ(grandchild.ask("read 150 100"), "ok 100");
  EXPECT_EQ(grandchild.ask("write 170 60"), "ok 60");
  EXPECT_EQ(child.ask("check"), "ok 1200");

  // Its own children, back where it began and beside their parent.
  const Prepared third = cluster.must_prepare(3, grandchild);
  cluster.introduce(1, 3);
  cluster.introduce(2, 3);
  Puppet home = cluster.child(1, third), beside = cluster.child(3, third);
  Puppet aunt = cluster.child(2, third);
  for (Puppet* puppet : {&home, &beside, &aunt, &grandchild, &parent, &child}) {
    EXPECT_EQ(puppet->ask("check"), "ok 1200");
  }
  for (Puppet* puppet : {&home, &beside})
    EXPECT_THAT(puppet->ask("stress 8 500"), StartsWith("ok "));
  for (Puppet* puppet : {&home, &beside, &aunt, &grandchild, &child, &parent}) {
    EXPECT_EQ(puppet->end(), 0);
  }
  for (const Prepared* it : {&first, &second, &third}) {
    EXPECT_EQ(cluster.run(it->machine, {"reclaim", std::to_string(it->handler)}).status, 0);
  }
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

TEST_P(Families, a_child_that_forks_and_remaps_before_it_prepares) {
  Cluster cluster;
  cluster.introduce(2, 1);
  Puppet parent = cluster.filled(1, 800);
  const Prepared first = cluster.must_prepare(1, parent, policy());
  Puppet child = cluster.child(2, first);
  EXPECT_EQ(child.ask("fork 1 30"), "ok");
  EXPECT_THAT(child.ask("stress 21 700"), StartsWith("ok "));
  const Prepared second = cluster.must_prepare(2, child);
  EXPECT_THAT(child.ask("stress 22 300"), StartsWith("ok "));
  cluster.introduce(1, 2);
  Puppet grandchild = cluster.child(1, second);
  EXPECT_THAT(grandchild.ask("check"), StartsWith("ok "));
  EXPECT_THAT(grandchild.ask("stress 23 300"), StartsWith("ok "));
  for (Puppet* puppet : {&grandchild, &child, &parent}) EXPECT_EQ(puppet->end(), 0);
  for (const Prepared* it : {&first, &second}) {
    EXPECT_EQ(cluster.run(it->machine, {"reclaim", std::to_string(it->handler)}).status, 0);
  }
  EXPECT_EQ(cluster.wait_until_clean(), "");
}

INSTANTIATE_TEST_SUITE_P(Policies, Families,
                         ::testing::ValuesIn(module::policies({"rc+ondemand+none+cow",
                                                               "dct+prefetch8+local+cow",
                                                               "rc+eager+none+copy"})),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '+', '_');
                           return name;
                         });

}  // namespace
}  // namespace mitosis::live
