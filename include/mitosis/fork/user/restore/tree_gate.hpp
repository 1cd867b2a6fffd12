// SPDX-License-Identifier: MIT
// TreeGate: where the launchers of a tree wait for each other. World: user.
#pragma once

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/local/deadline.hpp>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

namespace mitosis::restore {

/// Shared with the processes that are forked while it lives. Move-only.
class TreeGate {
 public:
  /// Opens once `expected` processes have come.
  static Result<TreeGate> make(std::uint32_t expected) noexcept {
    void* const at = ::mmap(nullptr, sizeof(std::atomic<std::uint32_t>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return Error(Errc::system_call_failed, "mmap", errno).in("make a tree");
    return TreeGate(static_cast<std::atomic<std::uint32_t>*>(at), expected);
  }
  TreeGate(TreeGate&& other) noexcept
      : arrived_(std::exchange(other.arrived_, nullptr)), expected_(other.expected_) {}
  TreeGate& operator=(TreeGate&&) = delete;
  ~TreeGate() {
    if (arrived_ != nullptr) ::munmap(arrived_, sizeof *arrived_);
  }

  /// Comes, and waits for the others; timed_out where one does not come.
  [[nodiscard]] Result<void> pass(local::Deadline deadline) const noexcept {
    std::uint32_t here = arrived_->fetch_add(1) + 1;
    if (here == expected_) futex(FUTEX_WAKE, ~0u >> 1, nullptr);
    while (here < expected_) {
      if (std::chrono::steady_clock::now() > deadline) {
        return Error(Errc::timed_out, "its other processes").in("make a tree");
      }
      const timespec moment = {0, 50'000'000};
      futex(FUTEX_WAIT, here, &moment);
      here = arrived_->load();
    }
    return {};
  }

 private:
  TreeGate(std::atomic<std::uint32_t>* arrived, std::uint32_t expected) noexcept
      : arrived_(arrived), expected_(expected) {}
  void futex(int what, std::uint32_t value, const timespec* patience) const noexcept {
    (void)::syscall(SYS_futex, arrived_, what, value, patience, nullptr, 0);
  }
  std::atomic<std::uint32_t>* arrived_;
  std::uint32_t expected_;
};
static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "it is shared between processes");

}  // namespace mitosis::restore
