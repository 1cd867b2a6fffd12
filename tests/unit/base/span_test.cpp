// SPDX-License-Identifier: MIT
// Span<T>: what it views, and that `sub` never leaves it. World: user.
#include <gtest/gtest.h>

#include <mitosis/base/span.hpp>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace mitosis {
namespace {

TEST(Span, ViewsArraysAndContainersWithoutCopying) {
  int array[] = {1, 2, 3};
  std::vector<int> vector = {4, 5};
  EXPECT_EQ(Span<int>(array).data(), array);
  EXPECT_EQ(Span<const int>(vector).data(), vector.data());
  EXPECT_EQ(Span<const char>(std::string("four")).size(), 4u);
}

TEST(Span, NeverDropsConst) {
  static_assert(!std::is_constructible_v<Span<int>, const std::vector<int>&>);
  static_assert(std::is_constructible_v<Span<const int>, const std::vector<int>&>);
}

TEST(Span, IteratesInOrder) {
  int array[] = {1, 2, 3};
  int sum = 0;
  for (const int value : Span<int>(array)) sum = sum * 10 + value;
  EXPECT_EQ(sum, 123);
}

TEST(Span, SubClampsToWhatThereIs) {
  const std::uint8_t bytes[] = {1, 2, 3, 4};
  const Bytes all(bytes);
  EXPECT_EQ(all.sub(1, 2).size(), 2u);
  EXPECT_EQ(all.sub(1, 2)[0], 2);
  EXPECT_EQ(all.sub(3, 9).size(), 1u);
  EXPECT_TRUE(all.sub(4).empty());
  EXPECT_TRUE(all.sub(std::numeric_limits<std::size_t>::max(), 1).empty());
  EXPECT_EQ(all.sub(2, std::numeric_limits<std::size_t>::max()).size(), 2u);
}

}  // namespace
}  // namespace mitosis
