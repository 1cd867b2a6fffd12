// SPDX-License-Identifier: MIT
// check_machine(): whether this machine and process can become the parent's child. World: user.
// Everything that is refused here is refused while the launcher is still whole.
#pragma once

#include <sys/mman.h>
#include <sys/utsname.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/restore/address_space.hpp>
#include <mitosis/fork/user/restore/check_threads.hpp>
#include <mitosis/fork/user/restore/vdso.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cerrno>
#include <cstdint>
#include <string_view>

namespace mitosis::restore {

/// missing_cpu_feature, the features named, unless this CPU has all that the parent's had.
inline Result<void> check_cpu(const DescriptorView& view, const Machine& here) noexcept {
  if (Result<void> x = arch::check_xfeatures(view.machine().xfeatures, here.xfeatures); !x) {
    return x;
  }
  Error error(Errc::missing_cpu_feature);
  std::string_view names = view.string(view.machine().cpu_features);
  while (!names.empty()) {
    const std::size_t comma = names.find(',');
    const std::string_view name = names.substr(0, comma);
    names.remove_prefix(comma == std::string_view::npos ? names.size() : comma + 1);
    if (arch::has_cpu_feature(name)) continue;
    if (!error.subject.empty()) error.subject.append(", ");
    error.subject.append(name.data(), name.size());
  }
  if (error.subject.empty()) return {};
  return error.in("check the CPU");
}

/// address_in_use where the parent's memory begins lower than the caller may map.
inline Result<void> check_lowest_address(const DescriptorView& view) noexcept {
  constexpr std::uint64_t surely_allowed = std::uint64_t{1} << 22;
  const auto vmas = view.vmas();
  if (vmas.empty() || vmas[0].start >= surely_allowed) return {};
  void* const want = reinterpret_cast<void*>(vmas[0].start);
  constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
  void* const got = ::mmap(want, page_size, PROT_NONE, flags, -1, 0);
  if (got != MAP_FAILED) ::munmap(got, page_size);
  if (got != MAP_FAILED || errno == EEXIST) return {};  // EEXIST: the launcher's own, which goes
  return Error(Errc::address_in_use, "below vm.mmap_min_addr of this machine", errno)
      .at_address(vmas[0].start)
      .in("check the addresses");
}

/// wrong_architecture, missing_cpu_feature, vdso_mismatch, unsupported_process, bad_descriptor or
/// address_in_use, the thing that is wrong named. (The page size is checked by the view.)
inline Result<void> check_machine(const DescriptorView& view, const Machine& here) {
  if (view.arch() != arch::this_arch) {
    Error error(Errc::wrong_architecture, "the descriptor's architecture is number ");
    descriptor::append_number(error.subject, static_cast<std::uint64_t>(view.arch()));
    return error.in("check the CPU");
  }
  if (Result<void> threads = check_threads(view); !threads) return threads;
  if (Result<void> cpu = check_cpu(view, here); !cpu) return cpu;
  if (Result<void> lowest = check_lowest_address(view); !lowest) return lowest;
  return check_vdso(view, here);
}

/// This machine, as the calling process sees it. `name` must outlive what is returned.
inline Machine look_at_machine(const AddressSpace& own, utsname& name) noexcept {
  Machine here;
  here.xfeatures = arch::usable_xfeatures();
  here.vvar = own.vvar;
  here.vvar_vclock = own.vvar_vclock;
  here.vdso = own.vdso;
  if (!own.vdso.empty()) {
    here.vdso_hash = vdso_hash(own_vdso(own.vdso));
  }
  if (::uname(&name) == 0) here.kernel_release = name.release;
  return here;
}

}  // namespace mitosis::restore
