// SPDX-License-Identifier: MIT
// AuthKey and TargetName: equal only when every bit is. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/ids.hpp>

namespace mitosis {
namespace {

TEST(AuthKey, DiffersInAnySingleBit) {
  const AuthKey key = {{1, 2, 3}};
  EXPECT_EQ(key, AuthKey({{1, 2, 3}}));
  for (unsigned bit = 0; bit < 128; ++bit) {
    AuthKey other = key;
    other.bytes[bit / 8] = static_cast<std::uint8_t>(other.bytes[bit / 8] ^ (1u << (bit % 8)));
    EXPECT_FALSE(key == other) << "bit " << bit;
  }
}

TEST(TargetName, NeedsNumberAndKey) {
  EXPECT_EQ((TargetName{1, 2}), (TargetName{1, 2}));
  EXPECT_FALSE((TargetName{1, 2}) == (TargetName{1, 3}));
  EXPECT_FALSE((TargetName{1, 2}) == (TargetName{2, 2}));
}

}  // namespace
}  // namespace mitosis
