// SPDX-License-Identifier: MIT
// PolicyName: its text, and what parse_policy accepts and refuses. World: user.
#include <gtest/gtest.h>

#include <mitosis/policy/matrix.hpp>
#include <mitosis/policy/parse.hpp>

#include <string>
#include <string_view>

namespace mitosis {
namespace {

std::string text_of(PolicyName name) {
  return format(name).c_str();
}

static_assert(format(PolicyName{}).size() == 21, "names are formatted at compile time");

TEST(PolicyName, DefaultIsTheDefaultPolicy) {
  EXPECT_EQ(PolicyName{}, name_of<Policy<>>);
  EXPECT_EQ(text_of(PolicyName{}), "rc+prefetch8+none+cow");
}

TEST(PolicyName, FormatsEveryAxis) {
  EXPECT_EQ(text_of(name_of<Policy<Transport<DCT>, Fetch<Eager>, Cache<Local>, Cow<Off>>>),
            "dct+eager+local+copy");
  EXPECT_EQ(text_of(name_of<Policy<Fetch<OnDemand>, Profile<On>>>), "rc+ondemand+none+cow+profile");
}

TEST(ParsePolicy, ReadsBackEveryCompiledName) {
  for_each_policy([](auto policy) {
    constexpr PolicyName name = name_of<typename decltype(policy)::type>;
    const auto parsed = parse_policy(std::string_view(format(name).c_str()));
    ASSERT_TRUE(parsed.ok()) << format(name).c_str();
    EXPECT_EQ(*parsed, name) << format(name).c_str();
  });
}

TEST(ParsePolicy, TakesAnyOrderAndDefaultsTheRest) {
  EXPECT_EQ(text_of(*parse_policy(std::string("copy+dct"))), "dct+prefetch8+none+copy");
  EXPECT_EQ(text_of(*parse_policy(std::string("noprofile+prefetch512"))),
            "rc+prefetch512+none+cow");
  EXPECT_EQ(*parse_policy(std::string()), PolicyName{});
  EXPECT_EQ(text_of(*parse_policy("eager")), "rc+eager+none+cow");
}

void expect_refused(std::string_view text, std::string_view subject) {
  const auto parsed = parse_policy(text);
  ASSERT_FALSE(parsed.ok()) << text;
  EXPECT_EQ(parsed.code(), Errc::policy_unknown);
  EXPECT_EQ(std::string_view(parsed.error().subject.c_str()).substr(0, subject.size()), subject);
}

TEST(ParsePolicy, NamesTheUnknownWord) {
  expect_refused("dct+fast", "`fast` is none of");
  expect_refused("DCT", "`DCT` is none of");
  expect_refused("dct+", "`` is none of");
  expect_refused("+", "`` is none of");
  expect_refused("dct eager", "`dct eager` is none of");
  expect_refused("dc", "`dc` is none of");
}

TEST(ParsePolicy, NamesTheAxisThatComesTwice) {
  expect_refused("dct+eager+rc", "`rc` names an axis a second time");
  expect_refused("eager+prefetch8", "`prefetch8` names an axis a second time");
}

TEST(ParsePolicy, RefusesPrefetchCountsThatAreNone) {
  for (const char* word : {"prefetch", "prefetch0", "prefetch08", "prefetch-1", "prefetch8x",
                           "prefetch65536", "prefetch4294967304"}) {
    expect_refused(word, "`prefetch");
  }
  EXPECT_EQ(parse_policy(std::string("prefetch65535"))->prefetch, 65535);
}

TEST(ParsePolicy, SurvivesHostileText) {
  expect_refused(std::string_view("dct\0rc", 6), "`dct");
  const std::string longest(100000, 'x');
  EXPECT_FALSE(parse_policy(longest).ok());
  EXPECT_FALSE(parse_policy(std::string(100000, '+')).ok());
}

}  // namespace
}  // namespace mitosis
