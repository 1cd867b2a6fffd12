// SPDX-License-Identifier: MIT
// find_system_call(): an instruction of a traced program's own that enters the kernel. World: user.
#pragma once

#include <unistd.h>

#include <mitosis/fork/user/arch/trace.hpp>
#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/fork/user/capture/trace/traced_thread.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mitosis::capture {

namespace detail {

inline bool is_system_call(int memory, std::uint64_t at) noexcept {
  auto bytes = arch::syscall_instruction;
  return ::pread(memory, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
             static_cast<ssize_t>(bytes.size()) &&
         bytes == arch::syscall_instruction;
}

}  // namespace detail

/// The one that `thread`, which is held, waits behind, or one of the vdso. `process` is /proc/PID,
/// `memory` its file "mem". unsupported_process where there is neither.
inline Result<std::uint64_t> find_system_call(const TracedThread& thread, int process, int memory) {
  const std::uint64_t behind = thread.own_registers()[arch::reg_rip];
  const std::uint64_t here = behind - arch::syscall_instruction.size();
  if (detail::is_system_call(memory, here)) return here;
  const Result<std::vector<char>> text = read_at(process, "maps", max_maps_text);
  if (!text) return text.error();
  const Result<std::vector<Mapping>> mappings = parse_maps(view(*text));
  if (!mappings) return mappings.error();
  for (const Mapping& m : *mappings) {
    if (m.path != "[vdso]") continue;
    std::vector<std::uint8_t> vdso(m.end - m.start);
    if (::pread(memory, vdso.data(), vdso.size(), static_cast<off_t>(m.start)) !=
        static_cast<ssize_t>(vdso.size())) {
      break;
    }
    const auto found = std::search(vdso.begin(), vdso.end(), arch::syscall_instruction.begin(),
                                   arch::syscall_instruction.end());
    if (found != vdso.end()) return m.start + static_cast<std::uint64_t>(found - vdso.begin());
  }
  return Error(Errc::unsupported_process, "it has no vdso").in("trace");
}

}  // namespace mitosis::capture
