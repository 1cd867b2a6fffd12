// SPDX-License-Identifier: MIT
// What becomes of the parent's vdso in a child. World: user.
// The child's memory holds addresses inside it. Under the same kernel this machine's own is moved
// to where the parent's was. Under another one a copy of the parent's lies there, whose functions
// jump to this machine's vdso, which lies elsewhere.
#pragma once

#include <sys/utsname.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/restore/address_space.hpp>
#include <mitosis/fork/user/restore/vdso_image.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/vdso_hash.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mitosis::restore {

/// The launcher's side of the comparison with the parent's machine.
struct Machine {
  std::uint64_t xfeatures = 0;
  Range vvar, vvar_vclock, vdso;
  std::uint64_t vdso_hash = 0;
  const char* kernel_release = "";  ///< not owned
};

/// The ranges of a descriptor's vvar, vvar_vclock and vdso; empty where there is none.
struct SpecialRanges {
  Range vvar, vvar_vclock, vdso;
};
inline SpecialRanges special_ranges(const DescriptorView& view) noexcept {
  SpecialRanges found;
  for (const descriptor::VmaRecord& vma : view.vmas()) {
    const Range range = {vma.start, vma.end};
    if (descriptor::VmaKind{vma.kind} == descriptor::VmaKind::vvar) found.vvar = range;
    if (descriptor::VmaKind{vma.kind} == descriptor::VmaKind::vdso) found.vdso = range;
    if (descriptor::VmaKind{vma.kind} == descriptor::VmaKind::vvar_vclock) {
      found.vvar_vclock = range;
    }
  }
  return found;
}

/// Whether this machine's vdso can lie where the parent's was: its data pages are as long and as
/// far apart, and its code is the same. Also where the parent had none mapped.
inline bool is_same_vdso(const DescriptorView& view, const Machine& here) noexcept {
  const SpecialRanges parent = special_ranges(view);
  if (parent.vdso.empty()) return true;
  const auto same = [&](const Range& theirs, const Range& ours) {
    if (theirs.empty() || ours.empty()) return theirs.empty() && ours.empty();
    return theirs.bytes() == ours.bytes() &&
           theirs.start - parent.vdso.start == ours.start - here.vdso.start;
  };
  return !here.vdso.empty() && same(parent.vdso, here.vdso) && same(parent.vvar, here.vvar) &&
         same(parent.vvar_vclock, here.vvar_vclock) && view.machine().vdso_hash == here.vdso_hash;
}

namespace detail {
inline Error vdso_mismatch(const char* why) noexcept {
  return Error(Errc::vdso_mismatch, why).in("redirect the parent's vdso");
}
}  // namespace detail

/// A copy of the parent's image, `bytes` long, in which each exported function is one that jumps to
/// the function of the same name of `local`, an image that will lie at `local_start`; one that
/// `local` lacks makes the system call. vdso_mismatch where that cannot be done.
inline Result<std::vector<std::uint8_t>> redirect_vdso(Bytes parent, std::uint64_t bytes,
                                                       Bytes local, std::uint64_t local_start) {
  if (parent.empty()) return detail::vdso_mismatch("the descriptor has no copy of it");
  if (parent.size() > bytes || bytes > descriptor::max_vdso_bytes) {
    return descriptor::refuse("vdso", "longer than its mapping");
  }
  const std::vector<VdsoEntry> theirs = vdso_entries(parent), ours = vdso_entries(local);
  if (theirs.empty()) return detail::vdso_mismatch("it exports no function");
  std::vector<std::uint64_t> starts;
  starts.reserve(theirs.size() + 1);
  for (const VdsoEntry& entry : theirs) starts.push_back(entry.offset);
  starts.push_back(bytes);
  std::sort(starts.begin(), starts.end());
  std::vector<std::uint8_t> image(parent.begin(), parent.end());
  image.resize(bytes);
  for (const VdsoEntry& entry : theirs) {
    // Nothing else of it runs any more: all up to the next function is free.
    const std::uint64_t next = *std::upper_bound(starts.begin(), starts.end(), entry.offset);
    if (next - entry.offset < arch::vdso_jump_bytes) {
      Error error = detail::vdso_mismatch("no room in its function ");
      error.subject.append(entry.name.data(), entry.name.size());
      return error;
    }
    const auto found = std::find_if(ours.begin(), ours.end(),
                                    [&](const VdsoEntry& o) { return o.name == entry.name; });
    if (found == ours.end() || arch::keeps_kernel_state(entry.name)) {
      arch::write_vdso_stub(entry.name, &image[entry.offset]);
    } else {
      arch::write_jump(local_start + found->offset, &image[entry.offset]);
    }
  }
  return image;
}

/// The launcher's own vdso, as it lies in memory.
inline Bytes own_vdso(const Range& vdso) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(vdso.start), vdso.bytes()};
}

/// vdso_mismatch, both kernels named, unless the parent's vdso can be had here, in one of the two
/// ways. A thread that was stopped inside another kernel's cannot go on.
inline Result<void> check_vdso(const DescriptorView& view, const Machine& here) {
  if (is_same_vdso(view, here)) return {};
  const Range parent = special_ranges(view).vdso;
  const auto mismatch = [&](const char* why) {
    Error error(Errc::vdso_mismatch, "the parent's is of Linux ");
    error.subject.append(view.string(view.machine().kernel_release));
    error.subject.append(", this one of Linux ").append(here.kernel_release);
    error.subject.append("; ").append(why);
    return error.in("check the kernel");
  };
  if (here.vdso.empty()) return mismatch("this machine has none");
  for (const descriptor::ThreadRecord& thread : view.threads()) {
    const std::uint64_t at = arch::instruction_of(thread);
    if (at >= parent.start && at < parent.end) return mismatch("a thread was stopped inside it");
  }
  const auto image = redirect_vdso(view.vdso(), parent.bytes(), own_vdso(here.vdso), 0);
  if (image) return {};
  if (image.error().code != Errc::vdso_mismatch) return image.error();
  return mismatch(image.error().subject.c_str());
}

}  // namespace mitosis::restore
