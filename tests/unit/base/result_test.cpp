// SPDX-License-Identifier: MIT
// Result<T>: holds exactly one of value and error, destroys it once, survives a self-move.
// World: user.
#include <gtest/gtest.h>

#include <mitosis/base/result.hpp>

#include <memory>
#include <utility>

namespace mitosis {
namespace {

using Shared = std::shared_ptr<int>;

TEST(Result, GivesTheValueUp) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result.code(), Errc::ok);
  const std::unique_ptr<int> taken = *std::move(result);
  EXPECT_EQ(*taken, 7);
}

TEST(Result, CarriesTheErrorWithItsContext) {
  const Result<int> result = Error(Errc::file_missing, "/etc/none", 2).in("open files");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.code(), Errc::file_missing);
  EXPECT_STREQ(result.error().subject.c_str(), "/etc/none");
  EXPECT_STREQ(result.error().step.c_str(), "open files");
  EXPECT_EQ(result.error().os_errno, 2);
}

TEST(Result, DestroysItsValueExactlyOnce) {
  const Shared value = std::make_shared<int>(1);
  {
    Result<Shared> first(value);
    Result<Shared> second(std::move(first));
    EXPECT_EQ(value.use_count(), 2);  // moved, not copied
  }
  EXPECT_EQ(value.use_count(), 1);
}

TEST(Result, AssignmentReplacesValueByErrorAndBack) {
  const Shared value = std::make_shared<int>(1);
  Result<Shared> result(value);
  result = Result<Shared>(Errc::timed_out);
  EXPECT_EQ(value.use_count(), 1);
  EXPECT_EQ(result.code(), Errc::timed_out);
  result = Result<Shared>(value);
  EXPECT_TRUE(result.ok());
  EXPECT_EQ(value.use_count(), 2);
}

TEST(Result, SurvivesASelfMove) {
  Result<Shared> result(std::make_shared<int>(5));
  Result<Shared>& alias = result;
  result = std::move(alias);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(**result, 5);
  EXPECT_EQ(result->use_count(), 1);
}

TEST(ResultOfVoid, IsSuccessUnlessGivenAnError) {
  EXPECT_TRUE(Result<void>().ok());
  EXPECT_EQ(Result<void>(Errc::revoked).code(), Errc::revoked);
}

TEST(Error, KeepsTheInnermostContext) {
  Error error(Errc::connection_lost);
  error.in("read page").at_machine(MachineId{3}).of_handler(HandlerId{73}).at_address(0x1000);
  error.in("resume").at_machine(MachineId{9}).of_handler(HandlerId{1}).at_address(0x2000);
  EXPECT_STREQ(error.step.c_str(), "read page");
  EXPECT_EQ(error.machine, MachineId{3});
  EXPECT_EQ(error.handler, 73u);
  EXPECT_EQ(error.address, 0x1000u);
}

}  // namespace
}  // namespace mitosis
