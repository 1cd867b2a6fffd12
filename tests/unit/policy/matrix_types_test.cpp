// SPDX-License-Identifier: MIT
// MatrixTypes: the matrix as a typed suite. World: user. Each case is named after its policy, so
// that `--gtest_filter=*/dct_prefetch8_local_cow.*` picks one.
#include <gtest/gtest.h>

#include <mitosis/policy/child_axes.hpp>
#include <mitosis/policy/matrix_types.hpp>

#include <string>

namespace mitosis {
namespace {

template <class P>
class EveryPolicy : public testing::Test {};
TYPED_TEST_SUITE(EveryPolicy, MatrixTypes<testing::Types>, PolicyCaseName);

TYPED_TEST(EveryPolicy, RunsUnderItsOwnName) {
  const std::string suite =
      testing::UnitTest::GetInstance()->current_test_info()->test_suite_name();
  EXPECT_EQ(suite, std::string("EveryPolicy/") + format(name_of<TypeParam>, "_").c_str());
}

TYPED_TEST(EveryPolicy, FetchesOneWayOnly) {
  EXPECT_FALSE(TypeParam::eager && TypeParam::prefetch > 0);
  EXPECT_LT(TypeParam::prefetch, TypeParam::transport::send_queue);
}

TYPED_TEST(EveryPolicy, HasAChildPolicyThatIsItsOwn) {
  using Child = ChildAxes<TypeParam>;
  static_assert(LegalPolicy<Child>);
  static_assert(std::same_as<ChildAxes<Child>, Child>);
  EXPECT_EQ(Child::prefetch, TypeParam::prefetch);
  EXPECT_EQ(Child::cached, TypeParam::cached);
}

}  // namespace
}  // namespace mitosis
