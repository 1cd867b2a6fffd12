// SPDX-License-Identifier: MIT
// A user's share of a machine's places for children and parents: no user keeps the others out.
// World: user.
#include <gtest/gtest.h>
#include <unistd.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/mem/target_table.hpp>

#include <string>
#include <vector>

namespace mitosis::agent {
namespace {

constexpr std::uint32_t root = 0, alice = 1000, bob = 1001;

TEST(Share, OfChildrenIsAQuarterForEachUserButRoot) {
  auto made = StateTable::create();
  ASSERT_TRUE(made);
  StateTable& table = **made;
  std::vector<ChildSlot*> of_alice;
  for (std::size_t i = 0; i < max_children_of_a_user; ++i) {
    auto slot = table.take_child(alice);
    ASSERT_TRUE(slot) << i;
    of_alice.push_back(*slot);
  }
  const auto refused = table.take_child(alice);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.code(), Errc::limit_exceeded);
  EXPECT_NE(describe(refused.error()).find("this user has 4096 children"), std::string::npos);
  EXPECT_TRUE(table.take_child(bob));
  for (std::size_t i = max_children_of_a_user + 1; i < max_children; ++i) {
    ASSERT_TRUE(table.take_child(root)) << i;
  }
  EXPECT_FALSE(table.take_child(root)) << "all are taken";
  table.release(*of_alice.front());
  EXPECT_TRUE(table.take_child(alice)) << "what has ended counts no more";
}

TEST(Share, OfParentsIsAQuarterForEachUserButRoot) {
  auto made = StateTable::create();
  ASSERT_TRUE(made);
  TargetTable targets;
  Parents parents(**made, targets, std::chrono::seconds(60));
  std::uint64_t handler = 1;
  const auto reserve = [&](std::uint32_t uid) {
    return parents.reserve(HandlerId{handler++}, uid, ::getpid(), "rc", false);
  };
  for (std::size_t i = 0; i < max_parents_of_a_user; ++i) ASSERT_TRUE(reserve(alice)) << i;
  const auto refused = reserve(alice);
  ASSERT_FALSE(refused);
  EXPECT_NE(describe(refused.error()).find("this user has 1024 prepared parents"),
            std::string::npos);
  EXPECT_TRUE(reserve(bob));
  EXPECT_TRUE(reserve(root));
  EXPECT_TRUE(parents.reclaim(HandlerId{1}, nullptr, alice));
  EXPECT_TRUE(reserve(alice)) << "what was reclaimed counts no more";
}

}  // namespace
}  // namespace mitosis::agent
