// SPDX-License-Identifier: MIT
// UniqueFd: closes exactly once, never twice, and survives a self-move. World: user.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <mitosis/base/unique_fd.hpp>

#include <stdexcept>
#include <utility>

namespace mitosis {
namespace {

int open_null() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}
bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) != -1;
}

TEST(UniqueFd, ClosesAtItsEnd) {
  int fd = -1;
  {
    const UniqueFd owner(open_null());
    fd = owner.get();
    ASSERT_TRUE(owner);
    EXPECT_TRUE(is_open(fd));
  }
  EXPECT_FALSE(is_open(fd));
}

TEST(UniqueFd, MovesWithoutClosing) {
  UniqueFd first(open_null());
  const int fd = first.get();
  const UniqueFd second(std::move(first));
  EXPECT_EQ(second.get(), fd);
  EXPECT_TRUE(is_open(fd));
}

TEST(UniqueFd, AssignmentClosesWhatItHeld) {
  UniqueFd held(open_null());
  UniqueFd other(open_null());
  const int old = held.get();
  const int kept = other.get();
  held = std::move(other);
  EXPECT_FALSE(is_open(old));
  EXPECT_EQ(held.get(), kept);
}

TEST(UniqueFd, SurvivesASelfMove) {
  UniqueFd owner(open_null());
  UniqueFd& alias = owner;
  const int fd = owner.get();
  owner = std::move(alias);
  EXPECT_EQ(owner.get(), fd);
  EXPECT_TRUE(is_open(fd));
}

TEST(UniqueFd, ReleaseGivesUpWithoutClosing) {
  UniqueFd owner(open_null());
  const UniqueFd released(owner.release());
  EXPECT_FALSE(owner);
  EXPECT_TRUE(is_open(released.get()));
}

TEST(UniqueFd, AFailedConstructionAroundItLeaksNothing) {
  struct Holder {
    explicit Holder(int fd) : owner(fd) { throw std::runtime_error("later member failed"); }
    UniqueFd owner;
  };
  const int fd = open_null();
  EXPECT_THROW(Holder{fd}, std::runtime_error);
  EXPECT_FALSE(is_open(fd));
}

}  // namespace
}  // namespace mitosis
