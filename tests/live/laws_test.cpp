// SPDX-License-Identifier: MIT
// The laws of a remote fork, on real processes of two machines, for a covering subset of policies.
// World: user. tests/laws has them for every policy, on the simulator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "cluster.hpp"
#include "module.hpp"

namespace mitosis::live {
namespace {

using ::testing::StartsWith;

class Laws : public ::testing::TestWithParam<std::string> {
 protected:
  Laws() { cluster.introduce(2, 1); }
  ~Laws() override { EXPECT_EQ(cluster.wait_until_clean(), ""); }
  [[nodiscard]] std::string policy() const { return GetParam(); }
  Cluster cluster;
};

TEST_P(Laws, a_child_reads_the_bytes_as_of_prepare) {
  Puppet parent = cluster.filled(1, 1500);
  ASSERT_EQ(parent.ask("map 300"), "ok");  // zeros, never touched
  const Prepared prepared = cluster.must_prepare(1, parent, policy());

  // Later writes of the parent and of one child, whatever the other child has read by then.
  Puppet first = cluster.child(2, prepared);
  EXPECT_EQ(first.ask("read 0 400"), "ok 400");
  EXPECT_EQ(parent.ask("write 0 1500"), "ok 1500");
  EXPECT_EQ(parent.ask("probes 99"), "ok");
  EXPECT_EQ(first.ask("write 300 600"), "ok 600");
  EXPECT_EQ(first.ask("probes 98"), "ok");
  Puppet second = cluster.child(2, prepared);
  EXPECT_EQ(second.ask("check"), "ok 1800");
  EXPECT_EQ(second.ask("check"), "ok 1800");  // what it has read stays
  EXPECT_EQ(first.ask("check"), "ok 1800");
  EXPECT_EQ(parent.ask("check"), "ok 1800");
  for (Puppet* puppet : {&first, &second, &parent}) EXPECT_EQ(puppet->end(), 0);
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
}

TEST_P(Laws, no_operation_of_a_child_makes_it_read_a_wrong_byte) {
  Puppet parent = cluster.filled(1, 2500);
  for (const char* line : {"map 500", "map 64", "map 1"}) ASSERT_EQ(parent.ask(line), "ok");
  ASSERT_EQ(split(parent.ask("stress 5 300")).first, "ok");  // mappings of all kinds
  const Prepared prepared = cluster.must_prepare(1, parent, policy());
  for (const char* seeds : {"12", "34"}) {
    Puppet one = cluster.child(2, prepared), two = cluster.child(2, prepared);
    parent.tell("stress 9 1000");
    one.tell(std::string("stress ") + seeds[0] + " 1500");
    two.tell(std::string("stress ") + seeds[1] + " 1500");
    for (Puppet* puppet : {&one, &two, &parent}) {
      EXPECT_THAT(puppet->hear(), StartsWith("ok "));
      EXPECT_THAT(puppet->ask("check"), StartsWith("ok "));
    }
    EXPECT_EQ(one.end(), 0);
    EXPECT_EQ(two.end(), 0);
  }
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
}

TEST_P(Laws, files_keep_their_offset) {
  if (module::is_tested()) GTEST_SKIP() << "the module takes no open files along";
  const std::string path = cluster.machines().directory().file("data");
  std::ofstream(path) << "0123456789abcdef";
  Puppet parent = cluster.puppet(1);
  ASSERT_EQ(parent.ask("open " + path), "ok");
  ASSERT_EQ(parent.ask("file 5"), "ok 01234");
  const Prepared prepared = cluster.must_prepare(1, parent, policy());
  ASSERT_EQ(parent.ask("file 9"), "ok 56789abcd");
  Puppet child = cluster.child(2, prepared);
  EXPECT_EQ(child.ask("file 3"), "ok 567");
  EXPECT_EQ(child.ask("twin 3"), "ok 89a") << "a dup shares the offset";
  EXPECT_EQ(child.ask("append XYZ"), "ok");
  EXPECT_EQ(child.ask("file 20"), "ok bcdefXYZ");
  EXPECT_EQ(child.end(), 0);
  EXPECT_EQ(parent.end(), 0);
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
}

/// The two machines of a test have the same files: so it is another program that lies there later.
TEST_P(Laws, a_program_that_the_other_machine_lacks_comes_along) {
  Puppet parent = cluster.filled(1, 200, {"/usr/bin/env"});
  const Prepared prepared = cluster.must_prepare(1, parent, policy());
  Puppet before = cluster.child(2, prepared);
  ASSERT_TRUE(std::filesystem::remove(cluster.for_all_users(LIVE_PUPPET)));
  Puppet child = cluster.child(2, prepared);
  for (Puppet* puppet : {&before, &child, &parent}) {
    EXPECT_EQ(puppet->ask("check"), "ok 200");
    EXPECT_THAT(puppet->ask("stress 3 200"), StartsWith("ok "));
    EXPECT_EQ(puppet->end(), 0);
  }
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
}

TEST_P(Laws, a_parent_may_exit_at_once) {
  Prepared prepared;
  {
    Puppet parent = cluster.filled(1, 300);
    prepared = cluster.must_prepare(1, parent, policy());
    parent.process().signal(SIGKILL);
    EXPECT_EQ(parent.end(), 128 + SIGKILL);
  }
  for (int i = 0; i < 2; ++i) {
    Puppet child = cluster.child(2, prepared);
    EXPECT_EQ(child.ask("check"), "ok 300");
    EXPECT_EQ(child.end(), 0);
  }
  EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
}

// Every value of every axis, and what interacts: caches with both ways of copying, Eager with both.
INSTANTIATE_TEST_SUITE_P(
    Policies, Laws,
    ::testing::ValuesIn(module::policies({"rc+ondemand+none+cow", "rc+prefetch8+none+cow",
                                          "dct+prefetch64+local+cow", "rc+eager+none+copy",
                                          "rc+prefetch8+local+copy", "dct+ondemand+local+cow",
                                          "rc+eager+local+cow"})),
    [](const auto& info) {
      std::string name = info.param;
      std::replace(name.begin(), name.end(), '+', '_');
      return name;
    });

}  // namespace
}  // namespace mitosis::live
