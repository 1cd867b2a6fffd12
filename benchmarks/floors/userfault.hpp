// SPDX-License-Identifier: MIT
// Userfault: a registered range of the calling process, and UFFDIO_COPY into it. World: user.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <harness/memory.hpp>
#include <mitosis/base/unique_fd.hpp>

#include <algorithm>
#include <cstdint>

namespace bench {

using mitosis::UniqueFd;

/// Owns a userfaultfd that is registered for missing pages of one range. Needs root.
class Userfault {
 public:
  explicit Userfault(const Memory& memory)
      : fd_(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC))) {
    uffdio_api api = {UFFD_API, 0, 0};
    uffdio_register range = {};
    range.range = {reinterpret_cast<std::uint64_t>(memory.data()), memory.size()};
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    ok_ = fd_ && ::ioctl(fd_.get(), UFFDIO_API, &api) == 0 &&
          ::ioctl(fd_.get(), UFFDIO_REGISTER, &range) == 0;
  }
  [[nodiscard]] bool ok() const noexcept { return ok_; }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  UniqueFd fd_;
  bool ok_ = false;
};

/// One UFFDIO_COPY; wakes who waits for those pages.
inline bool uffd_copy(int fd, std::uint64_t to, const std::uint8_t* from, std::size_t bytes) {
  uffdio_copy copy = {};
  copy.dst = to;
  copy.src = reinterpret_cast<std::uint64_t>(from);
  copy.len = bytes;
  return ::ioctl(fd, UFFDIO_COPY, &copy) == 0;
}

}  // namespace bench
