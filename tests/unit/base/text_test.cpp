// SPDX-License-Identifier: MIT
// Text<N>: bounded, always terminated, usable at compile time. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/text.hpp>

namespace mitosis {
namespace {

static_assert(Text<8>("abc").size() == 3, "names are built at compile time");

TEST(Text, HoldsWhatFits) {
  const Text<8> text("machine");
  EXPECT_STREQ(text.c_str(), "machine");
  EXPECT_EQ(text.size(), 7u);
}

TEST(Text, CutsAtItsCapacityAndStaysTerminated) {
  Text<4> text("machine");
  EXPECT_STREQ(text.c_str(), "mach");
  text.append("more");
  EXPECT_STREQ(text.c_str(), "mach");
  EXPECT_EQ(text.size(), 4u);
}

TEST(Text, AppendsInOrder) {
  Text<16> text;
  text.append("a").append("bcd", 2).append("");
  EXPECT_STREQ(text.c_str(), "abc");
}

TEST(Text, TakesNullForEmpty) {
  const Text<4> text(nullptr);
  EXPECT_TRUE(text.empty());
  EXPECT_STREQ(text.c_str(), "");
}

}  // namespace
}  // namespace mitosis
