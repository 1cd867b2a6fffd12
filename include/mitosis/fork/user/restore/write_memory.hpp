// SPDX-License-Identifier: MIT
// The ops that replace the launcher's memory by the child's. World: user.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/restore/checks.hpp>
#include <mitosis/fork/user/restore/files/opening.hpp>
#include <mitosis/fork/user/restore/mapped_files.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mitosis::restore {

/// What stays mapped while everything else goes: code and frame, and what is unmapped last.
/// `parking` is where vdso and vvar wait meanwhile, a part of `scratch`.
struct Keep {
  Range trampoline;
  Range scratch;
  std::uint64_t parking = 0;
  Range home;               ///< where this machine's vdso goes for good; empty: to the parent's
  std::uint64_t image = 0;  ///< then the redirected copy of the parent's, in `scratch` too
};

/// Bytes that vdso and vvar need while parked.
inline std::uint64_t parking_bytes(const AddressSpace& own) noexcept {
  return own.vvar.bytes() + own.vvar_vclock.bytes() + own.vdso.bytes();
}

/// From the first to the last of vvar, vvar_vclock and vdso, which lie together.
inline Range vdso_span(const AddressSpace& own) noexcept {
  Range span = own.vdso;
  for (const Range& r : {own.vvar, own.vvar_vclock}) {
    if (r.empty()) continue;
    span.start = std::min(span.start, r.start);
    span.end = std::max(span.end, r.end);
  }
  return span;
}

/// Moves vdso and vvar to where they park; after `write_unmap`, `write_vdso_to` moves them on.
inline void write_vdso_parking(const AddressSpace& own, const Keep& keep, ProgramWriter& program) {
  program.step("move the vdso");
  std::uint64_t to = keep.parking;
  for (const Range& r : {own.vvar, own.vvar_vclock, own.vdso}) {
    if (r.empty()) continue;
    program.op_returning(to, SYS_mremap, r.start, r.bytes(), r.bytes(),
                         MREMAP_MAYMOVE | MREMAP_FIXED, to);
    to += r.bytes();
  }
}

/// To the parent's addresses; both have the same pieces of the same sizes (is_same_vdso), or the
/// parent had none. With a home there, at the same distances, and the copy to the parent's.
inline void write_vdso_to(const AddressSpace& own, const SpecialRanges& parent, const Keep& keep,
                          ProgramWriter& program) {
  program.step("move the vdso");
  const auto move = [&program](std::uint64_t from, const Range& to) {
    program.op_returning(to.start, SYS_mremap, from, to.bytes(), to.bytes(),
                         MREMAP_MAYMOVE | MREMAP_FIXED, to.start);
  };
  if (parent.vdso.empty()) return;
  std::uint64_t from = keep.parking;
  const std::uint64_t up = keep.home.start - vdso_span(own).start;  // modulo 2^64
  for (const auto& [ours, theirs] : {std::pair(own.vvar, parent.vvar),
                                     {own.vvar_vclock, parent.vvar_vclock},
                                     {own.vdso, parent.vdso}}) {
    if (ours.empty()) continue;
    move(from, keep.home.empty() ? theirs : Range{ours.start + up, ours.end + up});
    from += ours.bytes();
  }
  if (!keep.home.empty()) move(keep.image, parent.vdso);
}

/// Unmaps all of the launcher but `keep`.
inline void write_unmap(const Keep& keep, ProgramWriter& program) {
  program.step("unmap the launcher");
  program.op(SYS_munlockall);  // MCL_FUTURE would have the kernel touch what is mapped next
  const bool scratch_first = keep.scratch.start < keep.trampoline.start;
  const Range low = scratch_first ? keep.scratch : keep.trampoline;
  const Range high = scratch_first ? keep.trampoline : keep.scratch;
  for (const Range& r :
       {Range{0, low.start}, Range{low.end, high.start}, Range{high.end, user_address_end}}) {
    if (!r.empty()) program.op(SYS_munmap, r.start, r.bytes());
  }
}

/// Maps everything but vdso and vvar. Nothing is replaced: what is in the way is an error.
inline void write_mappings(const DescriptorView& view, Span<const Mapping> mappings,
                           const MappedFiles& files, int cache, Span<const UniqueFd> shared,
                           ProgramWriter& program) {
  program.step("map the child's memory");
  const auto vmas = view.vmas();
  for (const Mapping& m : mappings) {
    const descriptor::VmaRecord vma = vmas[m.vma];
    std::uint64_t flags = MAP_PRIVATE | MAP_ANONYMOUS;
    std::uint64_t offset = 0;
    int fd = -1;
    switch (m.kind) {
      case MappingKind::anonymous:
        break;
      case MappingKind::cache:
        flags = MAP_PRIVATE;
        fd = cache;
        offset = m.cache_page << page_shift;
        break;
      case MappingKind::private_file:
      case MappingKind::shared_file:
        flags = m.kind == MappingKind::shared_file ? MAP_SHARED : MAP_PRIVATE;
        fd = files.fd(m.vma);
        offset = vma.file_offset;
        break;
      case MappingKind::shared_object:
        flags = MAP_SHARED;
        fd = shared[vma.file_inode].get();
        offset = vma.file_offset;
        break;
      case MappingKind::stack:
      case MappingKind::stack_filler:
        flags |= MAP_GROWSDOWN | MAP_STACK;
        break;
      case MappingKind::special:
        continue;
    }
    program.op_returning(m.start, SYS_mmap, m.start, m.bytes(), vma.prot,
                         flags | MAP_FIXED_NOREPLACE | MAP_NORESERVE, fd, offset);
  }
}

/// What may not be mapped like this from now on.
inline void write_seals(Span<const LateSeal> late, ProgramWriter& program) {
  program.step("seal shared memory");
  for (const LateSeal& seal : late) program.op(SYS_fcntl, seal.fd, F_ADD_SEALS, seal.seals);
}

/// Registers what the pager serves. One call covers neighbours and the holes between them, since
/// each costs more than mapping; it must not cover what the pager does not serve, nor `keep`.
inline void write_watches(Span<const Mapping> mappings, const Keep& keep, int uffd,
                          ProgramWriter& program) {
  program.step("register memory with userfaultfd");
  const auto within = [](const Range& r, std::uint64_t start, std::uint64_t end) {
    return r.start < end && start < r.end;
  };
  const auto write = [&](Range r, Faults faults) {
    uffdio_register call = {};
    call.range = {r.start, r.bytes()};
    call.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (faults == Faults::missing_and_minor) call.mode |= UFFDIO_REGISTER_MODE_MINOR;
    program.op(SYS_ioctl, uffd, UFFDIO_REGISTER, program.put_value(call));
  };
  Range open;
  Faults mode = Faults::none;
  for (const Mapping& m : mappings) {
    const bool joins = m.faults == mode && !within(keep.trampoline, open.end, m.start) &&
                       !within(keep.scratch, open.end, m.start) &&
                       !within(keep.home, open.end, m.start);
    if (joins) {
      open.end = m.end;
      continue;
    }
    if (mode != Faults::none) write(open, mode);
    open = {m.start, m.end};
    mode = m.faults;
  }
  if (mode != Faults::none) write(open, mode);
}

}  // namespace mitosis::restore
