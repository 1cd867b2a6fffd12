// SPDX-License-Identifier: MIT
// Parents: what is reclaimed while it is being captured is served by nobody afterwards. World:
// user.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/mem/descriptor/builder.hpp>
#include <mitosis/mem/image_source.hpp>
#include <mitosis/mem/registered_room.hpp>
#include <mitosis/mem/target_table.hpp>

#include <cstdint>
#include <cstring>
#include <memory>
#include <variant>
#include <vector>

namespace mitosis::agent {
namespace {

class ParentsTest : public ::testing::Test {
 protected:
  using Room = RegisteredRoom<std::monostate>;
  StateTable& table = **StateTable::create();
  const UniqueFd images{::memfd_create("images", MFD_CLOEXEC)};
  Room kept{images.get(), 0,
            [](MutableBytes) -> Result<std::monostate> { return Error(Errc::limit_exceeded); }};
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
  /// A descriptor of so many pages of the machine's own.
  static std::vector<std::uint8_t> descriptor_of(PageRange pages) {
    DescriptorBuilder builder(descriptor::Arch::x86_64, HandlerId{7}, Generation{1});
    builder.add_thread({}, {});
    builder.owners.push_back({});
    descriptor::VmaRecord vma = {};
    vma.start = address(pages.first);
    vma.end = address(pages.end());
    vma.prot = PROT_READ | PROT_WRITE;
    vma.kind = static_cast<std::uint32_t>(descriptor::VmaKind::anonymous);
    vma.path = descriptor::no_string;
    builder.vmas.push_back(vma);
    builder.add_run(pages, pages.first, 0);
    return builder.finish();
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

/// As after a device has gone: the next worker has no room of its own.
TEST_F(ParentsTest, ACopyInAnEarlierWorkersRoomIsServedByOneWithoutARoom) {
  constexpr std::uint64_t pages = 3;
  constexpr auto chunk = static_cast<off_t>(Room::chunk_bytes);
  const PageRange range{PageNumber{100}, pages};
  const std::vector<std::uint8_t> other(2 * Room::chunk_bytes, 0xee);
  ASSERT_EQ(::pwrite(images.get(), other.data(), other.size(), 0), ssize_t(other.size()));
  for (std::uint64_t i = 0; i < pages; ++i) {
    const std::vector<std::uint8_t> page(page_size, static_cast<std::uint8_t>(i + 1));
    ASSERT_EQ(
        ::pwrite(images.get(), page.data(), page.size(), chunk + static_cast<off_t>(i * page_size)),
        ssize_t(page.size()));
  }
  const auto described = sealed_memfd("descriptor", Bytes(descriptor_of(range)));
  ASSERT_TRUE(described);
  ParentSlot& slot = *table.take_parent();
  slot.parent_pidfd = slot.shadow_pidfd = slot.lifeline = slot.shared_fd = -1;
  slot.image_fd = ::dup(images.get());
  slot.image_offset = Room::chunk_bytes;
  slot.image_bytes = Room::chunk_bytes;
  slot.descriptor_fd = ::dup(described->get());
  slot.handler = HandlerId{7};
  slot.target = {7, 0x1234};
  slot.state.store(static_cast<std::uint32_t>(SlotState::live));

  parents.adopt(&kept);
  kept.begin();
  std::vector<std::uint8_t> got(page_size);
  for (std::uint64_t i = 0; i < pages; ++i) {
    ASSERT_EQ(targets.read({7, 0x1234}, address(range.first + i), {got.data(), got.size()}),
              Errc::ok)
        << i;
    EXPECT_EQ(got, std::vector<std::uint8_t>(page_size, static_cast<std::uint8_t>(i + 1))) << i;
  }
  struct stat status = {};
  ASSERT_EQ(::fstat(images.get(), &status), 0);
  EXPECT_EQ(status.st_blocks * 512, chunk) << "what was ready for others is given back";
  ASSERT_TRUE(parents.reclaim(HandlerId{7}, nullptr, 0));
  ASSERT_EQ(::fstat(images.get(), &status), 0);
  EXPECT_EQ(status.st_blocks, 0);
}

TEST_F(ParentsTest, WhereALaterWorkerMayHaveADeviceACopyIsMadeForIt) {
  EXPECT_FALSE(reserve()->for_device);
  parents.expect_device();
  const auto parent = parents.reserve(HandlerId{8}, 0, ::getpid(), "rc", true);
  ASSERT_TRUE(parent);
  EXPECT_TRUE((*parent)->for_device);
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
