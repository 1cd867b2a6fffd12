// SPDX-License-Identifier: MIT
// OwnRseq: the launcher's own restartable-sequences area. World: user.
// The kernel writes to it whenever the thread is moved between CPUs, and kills a thread whose area
// is unmapped: so it is unregistered before the launcher's memory goes.
#pragma once

#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/arch/restore.hpp>

#include <cerrno>
#include <cstdint>

namespace mitosis::restore {

/// Unregisters the C library's area of the calling thread, and registers it again when destroyed.
class OwnRseq {
 public:
  OwnRseq() noexcept = default;
  OwnRseq(const OwnRseq&) = delete;
  OwnRseq& operator=(const OwnRseq&) = delete;
  ~OwnRseq() {
    if (bytes_ != 0) (void)call(0);
  }

  Result<void> unregister() noexcept {
#if __has_include(<sys/rseq.h>)
    if (__rseq_size == 0) return {};  // the library has registered none
    address_ = arch::thread_pointer() + static_cast<std::uint64_t>(__rseq_offset);
    // The library tells how much of the area is in use, not how much it has registered: at least
    // the 32 bytes of the first version.
    for (const std::uint64_t bytes : {std::uint64_t{32}, std::uint64_t{__rseq_size},
                                      std::uint64_t{__rseq_size + 31} / 32 * 32}) {
      bytes_ = bytes;
      constexpr int unregister_flag = 1;
      if (call(unregister_flag) == 0) return {};
    }
    bytes_ = 0;
    return Error(Errc::system_call_failed, "rseq", errno).in("unregister restartable sequences");
#else
    return {};
#endif
  }

 private:
  [[nodiscard]] long call(int flags) const noexcept {
    constexpr std::uint32_t signature = 0x53053053;  // glibc's RSEQ_SIG of this architecture
    return ::syscall(SYS_rseq, address_, bytes_, flags, signature);
  }
  std::uint64_t address_ = 0;
  std::uint64_t bytes_ = 0;  ///< 0: nothing to register again
};

}  // namespace mitosis::restore
