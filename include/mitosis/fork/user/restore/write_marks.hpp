// SPDX-License-Identifier: MIT
// The ops that mark the child's memory as mlock(2) and madvise(2) have marked its parent's.
// World: user.
#pragma once

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/restore/mapping.hpp>
#include <mitosis/fork/user/restore/permitted.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>

namespace mitosis::restore {

/// At most so many.
inline std::size_t mark_ops(const DescriptorView& view) noexcept {
  std::size_t ops = 2;  // the limit of mlock, and back
  for (const descriptor::VmaRecord& vma : view.vmas()) {
    ops += static_cast<std::size_t>(std::popcount(vma.flags & descriptor::vma_marks));
  }
  return ops;
}

namespace detail {

inline void write_advice(const Mapping& m, std::uint32_t marks, ProgramWriter& program) {
  using namespace descriptor;
  struct {
    VmaFlag mark;
    int advice;
    bool must;  ///< a kernel without huge pages or KSM does not know their advice
  } const all[] = {
      {vma_dont_fork, MADV_DONTFORK, true},     {vma_wipe_on_fork, MADV_WIPEONFORK, true},
      {vma_dont_dump, MADV_DONTDUMP, true},     {vma_random, MADV_RANDOM, true},
      {vma_sequential, MADV_SEQUENTIAL, true},  {vma_huge, MADV_HUGEPAGE, false},
      {vma_never_huge, MADV_NOHUGEPAGE, false}, {vma_mergeable, MADV_MERGEABLE, false}};
  for (const auto& one : all) {
    if ((marks & one.mark) == 0) continue;
    // A huge page of the cache's memfd could be made of what is there and zeros for what is not.
    if (one.mark == vma_huge && m.kind == MappingKind::cache) continue;
    if (one.must) {
      program.op(SYS_madvise, m.start, m.bytes(), one.advice);
    } else {
      program.op_any(SYS_madvise, m.start, m.bytes(), one.advice);
    }
  }
}

}  // namespace detail

/// After all is mapped. Locked memory is locked page by page as it comes: to have it all at once
/// would be to fetch it.
inline void write_marks(const DescriptorView& view, Span<const Mapping> mappings,
                        const Permitted& permitted, ProgramWriter& program) {
  program.step("mark memory as its parent's is");
  const auto vmas = view.vmas();
  const auto limit = [&program](const rlimit64& value) {
    program.op(SYS_prlimit64, 0, RLIMIT_MEMLOCK, program.put_value(value), 0);
  };
  if (permitted.locks) limit({permitted.lock_limit.rlim_max, permitted.lock_limit.rlim_max});
  for (const Mapping& m : mappings) {
    if (m.kind == MappingKind::special || m.kind == MappingKind::stack_filler) continue;
    const std::uint32_t marks = vmas[m.vma].flags & descriptor::vma_marks;
    if (marks == 0) continue;
    detail::write_advice(m, marks, program);
    if ((marks & descriptor::vma_locked) != 0 && permitted.locks) {
      program.op(SYS_mlock2, m.start, m.bytes(), MLOCK_ONFAULT);
    }
  }
  if (permitted.locks) limit(permitted.lock_limit);  // the parent's own comes with all others
}

}  // namespace mitosis::restore
