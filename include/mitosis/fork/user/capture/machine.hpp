// SPDX-License-Identifier: MIT
// What a child's machine must be like: CPU features, vdso, kernel. World: user.
#pragma once

#include <sys/utsname.h>
#include <time.h>

#include <mitosis/fork/user/arch/arch.hpp>
#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/mem/descriptor/builder.hpp>
#include <mitosis/mem/vdso_hash.hpp>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace mitosis::capture {

/// The same for all processes of a machine, so read once.
struct Machine {
  std::uint64_t vdso_hash = 0;     ///< 0 where there is no vdso
  std::vector<std::uint8_t> vdso;  ///< its bytes, without the zeros at the end
  std::string kernel_release;
  std::string cpu_features;  ///< comma-separated, as /proc/cpuinfo names them
};

namespace detail {

/// Where this process's map says that its vdso lies; empty where it has none. Line by line, since
/// other threads map memory meanwhile: lines may contradict each other, each is true by itself.
inline Bytes own_vdso(std::string_view maps) noexcept {
  while (!maps.empty()) {
    Mapping m;
    if (!parse_mapping(take_until(maps, '\n'), m) || m.path != "[vdso]") continue;
    return {reinterpret_cast<const std::uint8_t*>(m.start), m.end - m.start};
  }
  return {};
}

inline Machine read_machine() {
  Machine machine;
  utsname name = {};
  if (::uname(&name) == 0) machine.kernel_release = name.release;
  if (const auto text = read_at(AT_FDCWD, "/proc/cpuinfo", 1u << 24)) {
    // The first CPU's; x86 calls them flags, arm64 Features.
    for (const char* key : {"flags\t\t", "Features\t"}) {
      machine.cpu_features += field(view(*text), key);
    }
    std::replace(machine.cpu_features.begin(), machine.cpu_features.end(), ' ', ',');
  }
  // Every process has the same vdso: this one's own can be read in place.
  if (const auto text = read_at(AT_FDCWD, "/proc/self/maps", max_maps_text)) {
    if (const Bytes vdso = own_vdso(view(*text)); !vdso.empty()) {
      machine.vdso_hash = vdso_hash(vdso);
      std::size_t used = vdso.size();
      while (used > 0 && vdso[used - 1] == 0) --used;
      machine.vdso.assign(vdso.data(), vdso.data() + used);
    }
  }
  return machine;
}

inline std::uint64_t clock_ns(clockid_t clock) noexcept {
  timespec now = {};
  (void)::clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace detail

/// This machine. Thread-safe; reads /proc the first time.
inline const Machine& this_machine() {
  static const Machine machine = detail::read_machine();
  return machine;
}

/// Fills in the descriptor's record, with the clocks as of now.
inline void describe_machine(DescriptorBuilder& builder) {
  const Machine& machine = this_machine();
  builder.machine.xfeatures = arch::xfeatures();
  builder.machine.xstate_size = arch::xstate_size();
  builder.machine.vdso_hash = machine.vdso_hash;
  builder.vdso = machine.vdso;
  builder.machine.kernel_release = builder.string(machine.kernel_release);
  builder.machine.cpu_features = builder.string(machine.cpu_features);
  builder.machine.monotonic_ns = detail::clock_ns(CLOCK_MONOTONIC);
  builder.machine.boottime_ns = detail::clock_ns(CLOCK_BOOTTIME);
}

}  // namespace mitosis::capture
