// SPDX-License-Identifier: MIT
// The state matrix: every kind of state, checked in the parent and in its children. World: user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "../cluster.hpp"

namespace mitosis::live {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::vector<std::string> states = {
#define STATE(name) #name,
#include "process_states.def"
#undef STATE
};

/// The parameter: a state.
class ProcessStates : public ::testing::TestWithParam<std::string> {
 protected:
  ProcessStates() { cluster.introduce(2, 1); }
  ~ProcessStates() override { EXPECT_EQ(cluster.wait_until_clean(), ""); }
  Puppet start(const std::string& state, std::vector<std::string> as = {}) {
    as.push_back(as.empty() ? LIVE_PROCESS_STATES : cluster.for_all_users(LIVE_PROCESS_STATES));
    as.push_back(state);
    return Puppet::start(std::move(as), {"MITOSIS_SOCKET=" + cluster.machines().socket(1)},
                         cluster.machines().network(1));
  }
  void reclaim(const Prepared& prepared) {
    EXPECT_EQ(cluster.run(1, {"reclaim", std::to_string(prepared.handler)}).status, 0);
  }
  Cluster cluster;
};

TEST_P(ProcessStates, come_along) {
  for (const char* policy :
       {"rc+prefetch8+none+cow", "dct+ondemand+local+cow", "rc+eager+none+copy"}) {
    SCOPED_TRACE(policy);
    Puppet parent = start(GetParam());
    const Prepared prepared = cluster.prepare(1, parent, policy);
    ASSERT_EQ(prepared.failure, "");
    Puppet first = cluster.start_child(2, prepared), second = cluster.start_child(1, prepared);
    for (Puppet* child : {&first, &second}) EXPECT_THAT(child->hear(), StartsWith("child "));
    for (Puppet* puppet : {&first, &parent, &second, &first}) {
      EXPECT_EQ(puppet->ask("check"), "ok");
    }
    for (Puppet* puppet : {&first, &second, &parent}) EXPECT_EQ(puppet->end(), 0);
    Puppet third = cluster.start_child(2, prepared);
    EXPECT_THAT(third.hear(), StartsWith("child "));
    EXPECT_EQ(third.ask("check"), "ok");
    EXPECT_EQ(third.end(), 0);
    reclaim(prepared);
  }
}

class OtherUsers : public ProcessStates {};

TEST_P(OtherUsers, have_no_more_than_they_may_and_are_told) {
  Puppet parent = start(GetParam());
  const Prepared prepared = cluster.prepare(1, parent);
  ASSERT_EQ(prepared.failure, "");
  const Outcome told = cluster.refused_child(
      2, prepared, "", {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  EXPECT_EQ(told.status, 99) << "its check sees what it lacks";
  EXPECT_THAT(told.text, ::testing::AllOf(HasSubstr("child "), HasSubstr("mitosis: resume: its "),
                                          HasSubstr("not permitted here")));
  EXPECT_EQ(parent.end(), 0);
  reclaim(prepared);
}
INSTANTIATE_TEST_SUITE_P(Matrix, OtherUsers,
                         ::testing::Values("scheduling", "real_time", "attributes"),
                         [](const auto& info) { return info.param; });

class OtherUsersOwn : public ProcessStates {};

TEST_P(OtherUsersOwn, comes_along_and_is_theirs) {
  Puppet parent = start(GetParam());
  const Prepared prepared = cluster.prepare(1, parent);
  ASSERT_EQ(prepared.failure, "");
  const Outcome told = cluster.refused_child(
      2, prepared, "", {"/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"});
  EXPECT_EQ(told.status, 0) << told.text;
  EXPECT_EQ(parent.end(), 0);
  reclaim(prepared);
}
INSTANTIATE_TEST_SUITE_P(Matrix, OtherUsersOwn,
                         ::testing::Values("shared_open_memfd", "shared_open_posix",
                                           "shared_sealed", "wiped_memory", "advised_memory"),
                         [](const auto& info) { return info.param; });

INSTANTIATE_TEST_SUITE_P(Matrix, ProcessStates, ::testing::ValuesIn(states),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mitosis::live
