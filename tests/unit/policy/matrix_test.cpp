// SPDX-License-Identifier: MIT
// The matrix: every legal combination once, found by its name, others refused with what there is.
// World: user.
#include <gtest/gtest.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/policy/matrix.hpp>

#include <set>
#include <string>
#include <type_traits>

namespace mitosis {
namespace {

std::string text_of(PolicyName name) {
  return format(name).c_str();
}
/// Runs the visitor's policy's own name back out.
constexpr auto own_name = [](auto policy) { return name_of<typename decltype(policy)::type>; };

TEST(FullMatrix, HasEveryLegalCombinationOnce) {
  std::set<std::string> names;
  for_each_policy([&](auto policy) { names.insert(text_of(own_name(policy))); });
  EXPECT_EQ(names.size(), FullMatrix::size);
  EXPECT_TRUE(names.contains("rc+prefetch512+local+copy+profile"));
  EXPECT_TRUE(names.contains("dct+prefetch64+none+cow"));
  EXPECT_FALSE(names.contains("dct+prefetch512+none+cow"));
}

TEST(WithPolicy, ReachesTheCompiledCombinationOfThatName) {
  for (const PolicyName& name : FullMatrix::names) {
    const Result<PolicyName> reached = with_policy(name, own_name);
    ASSERT_TRUE(reached.ok()) << text_of(name);
    EXPECT_EQ(*reached, name) << text_of(name);
  }
}

TEST(WithPolicy, PassesOnTheVisitorsOwnResult) {
  const Result<int> failed =
      with_policy(PolicyName{}, [](auto) { return Result<int>(Errc::shutting_down); });
  EXPECT_EQ(failed.code(), Errc::shutting_down);
  int calls = 0;
  const Result<void> done = with_policy(PolicyName{}, [&](auto) { ++calls; });
  EXPECT_TRUE(done.ok());
  EXPECT_EQ(calls, 1);
}

TEST(WithPolicy, RefusesAnUncompiledNameAndSaysWhatThereIs) {
  PolicyName name;
  name.prefetch = 7;
  const auto refused = with_policy(name, own_name);
  ASSERT_EQ(refused.code(), Errc::policy_not_compiled);
  EXPECT_STREQ(refused.error().subject.c_str(),
               "rc+prefetch7+none+cow; there are combinations of: rc dct | "
               "ondemand prefetch1,8,32,64,512 eager | none local | cow copy | noprofile profile");
}

TEST(WithPolicy, NamesTheTransportsLimit) {
  PolicyName name;
  name.transport = TransportKind::dct;
  name.prefetch = 512;
  const auto refused = with_policy(name, own_name);
  ASSERT_EQ(refused.code(), Errc::policy_not_compiled);
  EXPECT_STREQ(refused.error().subject.c_str(),
               "dct+prefetch512+none+cow; dct takes at most prefetch127");
}

using Mine = PolicyList<Policy<Fetch<Prefetch<3>>>, Policy<Fetch<Eager>, Cache<Local>>>;

TEST(PolicyList, LetsAProgramCompileItsOwn) {
  EXPECT_EQ(Mine::size, 2u);
  PolicyName three;
  three.prefetch = 3;
  EXPECT_TRUE(Mine::contains(three));
  EXPECT_EQ(*Mine::dispatch(three, own_name), three);
}

TEST(PolicyList, ListsAFewNamesInFull) {
  const auto refused = Mine::dispatch(PolicyName{}, own_name);
  EXPECT_EQ(describe(refused.error()),
            "the policy is not compiled in: rc+prefetch8+none+cow; there is "
            "rc+prefetch3+none+cow rc+eager+local+cow; "
            "list what there is with `mitosis policies`");
}

}  // namespace
}  // namespace mitosis
