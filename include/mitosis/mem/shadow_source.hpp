// SPDX-License-Identifier: MIT
// ShadowSource: reads the memory of a shadow process. World: user.
// Through /proc/PID/mem, not process_vm_readv: the open file stays bound to that one address space
// even when the pid is given to another process, and it reads PROT_NONE pages too. Measured on
// Linux 6.18, us a page: 4 KiB at a time 0.9 against 1.1 (with the liveness check that a pid
// needs), 64 KiB at a time 0.67 against 0.55.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/page.hpp>
#include <mitosis/mem/source.hpp>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>

namespace mitosis {

/// Cow<On>: a process that was cloned from the parent and only sleeps. Does not keep it alive:
/// once it is dead every read fails with page_unavailable (the kernel then reads no bytes).
class ShadowSource final : public PageSource {
 public:
  /// `pidfd` (borrowed, for this call) proves that `pid` is still the shadow's. Needs ptrace
  /// access to it: missing_privilege without. page_unavailable: it is dead.
  static Result<std::shared_ptr<ShadowSource>> open(int pid, int pidfd) noexcept;

  [[nodiscard]] Errc read(std::uint64_t address, MutableBytes into) noexcept override;

  /// Owns `memory`, an open /proc/PID/mem.
  explicit ShadowSource(UniqueFd memory) noexcept : memory_(std::move(memory)) {}

 private:
  UniqueFd memory_;
};

inline Result<std::shared_ptr<ShadowSource>> ShadowSource::open(int pid, int pidfd) noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/%d/mem", pid);
  UniqueFd memory(::open(path, O_RDONLY | O_CLOEXEC));
  const int failed = errno;
  // A pid is not given away before its owner is dead, so one that lives now was right before.
  pollfd alive{pidfd, POLLIN, 0};
  if (::poll(&alive, 1, 0) != 0) {
    return Error(Errc::page_unavailable, "the shadow process is dead").in("open a shadow");
  }
  if (!memory) {
    const bool privilege = failed == EACCES || failed == EPERM;
    return Error(privilege ? Errc::missing_privilege : Errc::system_call_failed,
                 privilege ? "CAP_SYS_PTRACE is needed to read a shadow" : path, failed)
        .in("open a shadow");
  }
  return std::make_shared<ShadowSource>(std::move(memory));
}

inline Errc ShadowSource::read(std::uint64_t address, MutableBytes into) noexcept {
  if (address > user_address_end || into.size() > user_address_end - address) {
    return Errc::page_unavailable;
  }
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = ::pread(memory_.get(), into.data() + done, into.size() - done,
                              static_cast<off_t>(address + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Errc::page_unavailable;  // 0: the address space is gone
    done += static_cast<std::size_t>(n);
  }
  return Errc::ok;
}

}  // namespace mitosis
