// SPDX-License-Identifier: MIT
// check_restorable: whether the module can restore a descriptor's process. World: kernel.
// User space captures more than the module restores; what would be missing in the child is refused
// by name, before anything of the caller has changed.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/base/text.hpp>
#include <mitosis/mem/descriptor/view.hpp>

namespace mitosis::kernel {

/// Whether it is a file's, whose pages the child fetches from the parent, as all else: this module
/// opens no files. A shared mapping that may be written shows what others write, and is not.
inline bool is_fetched(const descriptor::VmaRecord& vma) noexcept {
  constexpr std::uint32_t may_write = 2;  // PROT_WRITE
  const auto kind = descriptor::VmaKind{vma.kind};
  return kind == descriptor::VmaKind::private_file ||
         (kind == descriptor::VmaKind::shared_file && (vma.prot & may_write) == 0);
}

namespace detail {

inline Errc cannot(Errc code, const char* what) noexcept {
  Text<127> said("the parent ");
  mitosis_shim_say(said.append(what).append(", which this module cannot restore").c_str());
  return code;
}

/// The resumer's own streams are the child's; what was dropped before is not there.
inline Errc check_files(const DescriptorView& view) noexcept {
  for (const descriptor::FileRecord file : view.files()) {
    if (file.fd <= 2 || descriptor::FileKind{file.kind} == descriptor::FileKind::dropped) continue;
    Text<63> what("has descriptor ");
    descriptor::append_number(what, static_cast<std::uint64_t>(file.fd));
    what.append(" open: ").append(view.string(file.path));
    return cannot(Errc::unsupported_file, what.c_str());
  }
  return Errc::ok;
}

inline Errc check_memory(const DescriptorView& view) noexcept {
  using descriptor::VmaKind;
  for (const descriptor::VmaRecord vma : view.vmas()) {
    const auto kind = VmaKind{vma.kind};
    if (kind == VmaKind::shared_object || (kind == VmaKind::shared_file && !is_fetched(vma))) {
      return cannot(Errc::unsupported_process, "has shared memory");
    }
    if (kind == VmaKind::vvar_vclock) {
      return cannot(Errc::unsupported_process, "ran under a kernel with another vvar");
    }
  }
  return Errc::ok;
}

}  // namespace detail

/// ok, or unsupported_process or unsupported_file, which the log tells of.
inline Errc check_restorable(const DescriptorView& view) noexcept {
  using detail::cannot;
  constexpr Errc process = Errc::unsupported_process;
  if (view.threads().size() != 1) return cannot(process, "has several threads");
  if (view.tree().size() != 0) return cannot(process, "has children of its own");
  if (view.filters().size() != 0) return cannot(process, "has seccomp filters");
  if (view.timers().size() != 0) return cannot(process, "has timers");
  if (view.pending_signals().size() != 0) return cannot(process, "has pending signals");
  for (const descriptor::ProcessRecord attributes : view.process()) {
    for (const auto& timer : attributes.timers) {
      if (timer.remaining_us != 0) return cannot(process, "has an interval timer");
    }
    if ((attributes.flags & descriptor::process_no_new_privs) != 0) {
      return cannot(process, "has no_new_privs");
    }
  }
  const Errc memory = detail::check_memory(view);
  return memory != Errc::ok ? memory : detail::check_files(view);
}

}  // namespace mitosis::kernel
