// SPDX-License-Identifier: MIT
// Parents: what is reclaimed while it is being captured is served by nobody afterwards. World:
// user.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/mem/image_source.hpp>
#include <mitosis/mem/target_table.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace mitosis::agent {
namespace {

class ParentsTest : public ::testing::Test {
 protected:
  StateTable& table = **StateTable::create();
  TargetTable targets;
  Parents parents{table, targets, std::chrono::seconds(60)};

  std::shared_ptr<Parent> reserve() {
    return *parents.reserve(HandlerId{7}, 0, ::getpid(), "rc", false);
  }
  /// What a capture does last but for `publish`; its shadow is a process that sleeps.
  pid_t open(Parent& parent) {
    const UniqueFd page(::memfd_create("page", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(page.get(), page_size), 0);
    const PageRange one{PageNumber{1}, 1};
    parent.target = {7, 0x1234};
    EXPECT_TRUE(targets.restore(parent.target, *ImageSource::map(page.get(), PageRanges({one})),
                                PageRanges({one})));
    parent.descriptor = std::make_shared<const std::vector<std::uint8_t>>(1);
    const pid_t shadow = ::fork();
    if (shadow == 0) {
      ::alarm(30);
      for (;;) ::pause();
    }
    parent.shadow_pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, shadow, 0)));
    return shadow;
  }
  static int end_of(pid_t pid) {
    int status = 0;
    EXPECT_EQ(::waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
  }
};

TEST_F(ParentsTest, ReclaimedWhileItIsCapturedItIsNotServed) {
  const auto parent = reserve();
  ASSERT_TRUE(parents.reclaim(HandlerId{7}, nullptr, 0));
  const pid_t shadow = open(*parent);
  parents.publish(parent);
  EXPECT_EQ(targets.size(), 0u);
  EXPECT_EQ(end_of(shadow), SIGKILL);
  EXPECT_EQ(parents.get(HandlerId{7}, nullptr, Clock::now()).code(), Errc::unknown_handler);
}

TEST_F(ParentsTest, AbandonedWhileItIsCapturedItIsNotServed) {
  const auto parent = reserve();
  parents.abandon(parent);
  const pid_t shadow = open(*parent);
  parents.publish(parent);
  EXPECT_EQ(targets.size(), 0u);
  EXPECT_EQ(end_of(shadow), SIGKILL);
}

TEST_F(ParentsTest, ACaptureThatTakesTooLongSaysSo) {
  const auto parent = reserve();
  EXPECT_TRUE(parents.sweep(parent->prepared + Parents::capture_deadline).empty());
  EXPECT_EQ(parent->state, Parent::State::capturing);
  EXPECT_TRUE(parents.sweep(Clock::now() + 2 * Parents::capture_deadline).empty());
  EXPECT_EQ(parent->state, Parent::State::failed);
  EXPECT_EQ(parent->failure.code, Errc::timed_out);
  const pid_t shadow = open(*parent);
  parents.publish(parent);
  EXPECT_EQ(targets.size(), 0u);
  EXPECT_EQ(end_of(shadow), SIGKILL);
}

/// Asks the parents, as nobody could who is called under their lock.
class Asks final : public TargetObserver {
 public:
  explicit Asks(const Parents& parents) : parents_(parents) {}
  void on_open(const Parent&) override {}
  void on_close(const TargetName& target) override {
    EXPECT_TRUE(parents_.list().empty());
    closed.push_back(target.number);
  }
  std::vector<std::uint32_t> closed;

 private:
  const Parents& parents_;
};

TEST_F(ParentsTest, WhoGivesMemoryBackHoldsNobodyUpAndIsDoneWhenReclaimReturns) {
  Asks observer(parents);
  parents.observe(&observer);
  const auto parent = reserve();
  const pid_t shadow = open(*parent);
  parents.publish(parent);
  ASSERT_TRUE(parents.reclaim(HandlerId{7}, nullptr, 0));
  EXPECT_EQ(observer.closed, std::vector<std::uint32_t>{7});
  EXPECT_EQ(end_of(shadow), SIGKILL);
}

TEST_F(ParentsTest, ReclaimEndsThePublished) {
  const auto parent = reserve();
  const pid_t shadow = open(*parent);
  parents.publish(parent);
  EXPECT_EQ(targets.size(), 1u);
  ASSERT_TRUE(parents.reclaim(HandlerId{7}, &parent->key, 0));
  EXPECT_EQ(targets.size(), 0u);
  EXPECT_EQ(end_of(shadow), SIGKILL);
}

}  // namespace
}  // namespace mitosis::agent
