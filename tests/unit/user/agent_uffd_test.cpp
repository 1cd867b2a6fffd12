// SPDX-License-Identifier: MIT
// Uffd: what it says of a page whose mapping changes under its hands. Needs the right to make a
// full userfaultfd.
#include <mitosis/fork/user/agent/uffd.hpp>

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/syscall.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace mitosis::agent {
namespace {

constexpr std::uint64_t pages = 2048;
constexpr PageRange here{PageNumber{0x300000000}, pages}, there{PageNumber{0x300100000}, pages};

void* pointer(PageRange range) {
  return reinterpret_cast<void*>(address(range.first));
}

/// Moves a mapping to and fro, as fast as its events are read.
class Mover {
 public:
  Mover() : thread_([this] { run(); }) {}
  void stop() { stop_ = true; }
  [[nodiscard]] bool stopped() const { return stopped_; }
  ~Mover() { thread_.join(); }

 private:
  void run() {
    for (bool back = false; !stop_; back = !back) {
      const PageRange from = back ? there : here, to = back ? here : there;
      if (::mremap(pointer(from), from.bytes(), to.bytes(), MREMAP_MAYMOVE | MREMAP_FIXED,
                   pointer(to)) == MAP_FAILED) {
        ADD_FAILURE() << "mremap: " << errno;
        break;
      }
    }
    stopped_ = true;
  }
  std::atomic<bool> stop_{false}, stopped_{false};
  std::thread thread_;
};

TEST(Uffd, APageThatHasJustMovedIsNotCalledUnmapped) {
  const UniqueFd fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
  if (!fd) GTEST_SKIP() << "no userfaultfd: " << errno;
  ASSERT_TRUE(enable(fd.get()).ok());
  ASSERT_NE(::mmap(pointer(here), here.bytes(), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
            MAP_FAILED);
  uffdio_register watch = {};
  watch.range = {address(here.first), here.bytes()};
  watch.mode = UFFDIO_REGISTER_MODE_MISSING;
  ASSERT_EQ(::ioctl(fd.get(), UFFDIO_REGISTER, &watch), 0);

  const Uffd uffd(fd.get());
  const std::vector<std::uint8_t> bytes(page_size, 1);
  PageNumber start = here.first;  // as far as events have told
  std::uint64_t unmapped = 0, moves = 0;
  uffd_msg event;
  {
    Mover mover;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    for (std::uint64_t i = 0; std::chrono::steady_clock::now() < end; ++i) {
      const InstallResult result = uffd.copy({start + i % pages, 1}, bytes.data());
      if (result.status == Install::unmapped) ++unmapped;
      if (!read_event(fd.get(), event) || event.event != UFFD_EVENT_REMAP) continue;
      start = page_of(event.arg.remap.to);
      ++moves;
    }
    mover.stop();
    while (!mover.stopped()) (void)read_event(fd.get(), event);
  }
  EXPECT_EQ(unmapped, 0u) << "in " << moves << " moves";
  EXPECT_GT(moves, 0u);
  // Where nothing is, and nobody changes it, it is told.
  EXPECT_EQ(uffd.copy({PageNumber{0x300000}, 1}, bytes.data()).status, Install::unmapped);
}

}  // namespace
}  // namespace mitosis::agent
