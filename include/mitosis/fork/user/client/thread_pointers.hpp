// SPDX-License-Identifier: MIT
// ThreadPointers: what the kernel knows about the calling thread, and forgets for its copy.
// World: user. A clone() without CLONE_VM starts without a robust list and clear_child_tid, so the
// parent itself must ask for them; what survives the clone is asked by the shadow.
#pragma once

#include <sys/prctl.h>

#if __has_include(<sys/rseq.h>)  // glibc 2.35 on; an older one registers none
#include <sys/rseq.h>
#endif

#include <mitosis/fork/user/arch/arch.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::client {

struct ThreadPointers {
  std::uint64_t robust_list = 0, robust_list_bytes = 0;
  std::uint64_t clear_child_tid = 0;
  std::uint64_t rseq = 0, rseq_bytes = 0;
  std::uint32_t tid = 0;
};

/// What glibc registers with rseq(2) at least; newer ones tell a smaller "active" size.
inline constexpr std::uint64_t rseq_registered_bytes = 32;

/// Asks the kernel and libc. Some 0.5 us.
inline ThreadPointers thread_pointers() noexcept {
  ThreadPointers p;
  (void)arch::raw_syscall(SYS_get_robust_list, 0, &p.robust_list, &p.robust_list_bytes);
  (void)arch::raw_syscall(SYS_prctl, PR_GET_TID_ADDRESS, &p.clear_child_tid, 0, 0, 0);
  p.tid = static_cast<std::uint32_t>(arch::raw_syscall(SYS_gettid));
#if __has_include(<sys/rseq.h>)
  if (__rseq_size != 0) {
    p.rseq = reinterpret_cast<std::uint64_t>(__builtin_thread_pointer()) +
             static_cast<std::uint64_t>(__rseq_offset);
    p.rseq_bytes = __rseq_size > rseq_registered_bytes ? __rseq_size : rseq_registered_bytes;
  }
#endif
  return p;
}

}  // namespace mitosis::client
