// SPDX-License-Identifier: MIT
// Policy<...>: defaults, order of the arguments, legality and the part that a child depends on.
// World: user; nearly all of it is decided at compile time.
#include <gtest/gtest.h>

#include <mitosis/policy/child_axes.hpp>
#include <mitosis/policy/policy.hpp>

#include <concepts>

namespace mitosis {
namespace {

using Default = Policy<>;
using Mixed = Policy<Cow<Off>, Fetch<Eager>, Profile<On>, Transport<DCT>, Cache<Local>>;

TEST(Policy, HasTheDocumentedDefaults) {
  static_assert(std::same_as<Canonical<Default>, PolicyOf<RC, Prefetch<8>, None, On, Off>>);
  EXPECT_FALSE(Default::dct);
  EXPECT_FALSE(Default::eager);
  EXPECT_EQ(Default::prefetch, 8u);
  EXPECT_FALSE(Default::cached);
  EXPECT_TRUE(Default::copy_on_write);
  EXPECT_FALSE(Default::profiled);
}

TEST(Policy, TakesItsArgumentsInAnyOrder) {
  static_assert(std::same_as<Canonical<Mixed>, PolicyOf<DCT, Eager, Local, Off, On>>);
  EXPECT_TRUE(Mixed::dct);
  EXPECT_TRUE(Mixed::eager);
  EXPECT_EQ(Mixed::prefetch, 0u);
  EXPECT_TRUE(Mixed::cached);
  EXPECT_FALSE(Mixed::copy_on_write);
  EXPECT_TRUE(Mixed::profiled);
}

TEST(LegalPolicy, AcceptsUpToOneDoorbellOfTheTransport) {
  static_assert(LegalPolicy<Policy<Transport<DCT>, Fetch<Prefetch<127>>>>);
  static_assert(!LegalPolicy<Policy<Transport<DCT>, Fetch<Prefetch<128>>>>);
  static_assert(LegalPolicy<Policy<Fetch<Prefetch<1023>>>>);
  static_assert(!LegalPolicy<Policy<Fetch<Prefetch<1024>>>>);
}

TEST(LegalPolicy, RefusesWithoutACompileError) {
  static_assert(LegalPolicy<Default> && LegalPolicy<Mixed>);
  static_assert(!LegalPolicy<Policy<Cow<On>, Cow<On>>>);
  static_assert(!LegalPolicy<Policy<Fetch<Prefetch<0>>>>);
  static_assert(!LegalPolicy<Policy<int>>);
  static_assert(!LegalPolicy<DCT>);
}

TEST(ChildAxes, ForgetsTransportAndCowOnly) {
  static_assert(std::same_as<ChildAxes<Mixed>, PolicyOf<RC, Eager, Local, On, On>>);
  static_assert(std::same_as<ChildAxes<Policy<Transport<DCT>>>, ChildAxes<Policy<Cow<Off>>>>);
  static_assert(!std::same_as<ChildAxes<Policy<Fetch<Eager>>>, ChildAxes<Policy<>>>);
}

}  // namespace
}  // namespace mitosis
