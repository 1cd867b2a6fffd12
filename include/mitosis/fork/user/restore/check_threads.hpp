// SPDX-License-Identifier: MIT
// check_threads(): whether the kernel will take what a descriptor says of its threads. World: user.
// What a thread cannot be given is found while the launcher can still refuse: later it would end a
// process of which other threads run already.
#pragma once

#include <sys/mman.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstddef>
#include <cstdint>

namespace mitosis::restore {

/// Whether `bytes` at `address` lie within one mapping of the child, writable.
inline bool is_writable(const DescriptorView& view, std::uint64_t address,
                        std::uint64_t bytes) noexcept {
  const auto vmas = view.vmas();
  std::size_t low = 0, high = vmas.size();  // the first that ends behind the address
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    if (vmas[middle].end <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == vmas.size() || vmas[low].start > address) return false;
  return (vmas[low].prot & PROT_WRITE) != 0 && bytes <= vmas[low].end - address;
}

/// Whether there is memory where the C library may keep the thread's number.
inline bool has_tid(const DescriptorView& view, const descriptor::ThreadRecord& thread) noexcept {
  return is_writable(view, thread.clear_child_tid, sizeof(std::uint32_t));
}

/// unsupported_process for a 32-bit program, bad_descriptor for areas that the kernel would not
/// take. (rseq(2), set_robust_list(2): Linux kernel/rseq.c, kernel/futex/syscalls.c)
inline Result<void> check_threads(const DescriptorView& view) noexcept {
  constexpr std::uint64_t robust_list_head = 24;
  constexpr std::uint64_t smallest_rseq = 32, rseq_alignment = 32;
  const auto threads = view.threads();
  for (std::size_t i = 0; i < threads.size(); ++i) {
    const descriptor::ThreadRecord thread = threads[i];
    const auto bad = [i](const char* field, const char* why) {
      return descriptor::refuse(descriptor::Tag::threads, i, field, why);
    };
    if (!arch::is_native(thread)) {
      return Error(Errc::unsupported_process, "it is a 32-bit program").in("check the parent");
    }
    if (!arch::has_valid_pointers(thread)) return bad("registers", "a thread pointer");
    if (thread.robust_list_bytes != 0 && thread.robust_list_bytes != robust_list_head) {
      return bad("robust_list_bytes", "not 24");
    }
    if (thread.rseq_bytes == 0) continue;
    if (thread.rseq_bytes < smallest_rseq) return bad("rseq_bytes", "below 32");
    if (thread.rseq % rseq_alignment != 0) return bad("rseq", "not aligned");
    if (!is_writable(view, thread.rseq, thread.rseq_bytes)) {
      return bad("rseq", "not in writable memory");
    }
  }
  return {};
}

}  // namespace mitosis::restore
