// SPDX-License-Identifier: MIT
// The ops that restore what belongs to the process as a whole. World: user.
#pragma once

#include <linux/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/restore/program_writer.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <algorithm>
#include <csignal>
#include <cstdint>

namespace mitosis::restore {

/// What the kernel notes of a program's memory: its heap's end, its arguments, its executable.
/// `exe` is the executable, open, or -1; setting it takes a privilege, and is left out without.
inline void write_mm(const DescriptorView& view, int exe, ProgramWriter& program) {
  program.step("restore the memory's attributes");
  const descriptor::MmRecord mm = view.mm();
  prctl_mm_map map = {};
  map.start_code = mm.start_code;
  map.end_code = mm.end_code;
  map.start_data = mm.start_data;
  map.end_data = mm.end_data;
  map.start_brk = mm.start_brk;
  map.brk = mm.brk;
  map.start_stack = mm.start_stack;
  map.arg_start = mm.arg_start;
  map.arg_end = mm.arg_end;
  map.env_start = mm.env_start;
  map.env_end = mm.env_end;
  map.auxv = reinterpret_cast<__u64*>(program.put(view.auxv()));
  map.auxv_size = static_cast<std::uint32_t>(view.auxv().size());
  map.exe_fd = ~0u;
  program.op(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, program.put_value(map), sizeof map, 0);
  if (exe < 0) return;
  map.exe_fd = static_cast<std::uint32_t>(exe);
  program.op_any(SYS_prctl, PR_SET_MM, PR_SET_MM_MAP, program.put_value(map), sizeof map, 0);
}

/// All signal actions; a descriptor without any has the default ones.
inline void write_sigactions(const DescriptorView& view, ProgramWriter& program) {
  program.step("restore signal actions");
  constexpr int signals = 64;
  constexpr std::size_t mask_bytes = 8;
  const auto actions = view.sigactions();
  for (int signal = 1; signal <= signals; ++signal) {
    if (signal == SIGKILL || signal == SIGSTOP) continue;
    descriptor::SigactionRecord action = {};
    if (!actions.empty()) action = actions[static_cast<std::size_t>(signal - 1)];
    program.op(SYS_rt_sigaction, signal, program.put_value(action), 0, mask_bytes);
  }
}

/// The parent's limits, as far as the launcher's hard ones allow.
inline void write_limits(const DescriptorView& view, ProgramWriter& program) {
  program.step("restore the resource limits");
  const auto limits = view.limits();
  for (std::size_t i = 0; i < limits.size() && i < RLIM_NLIMITS; ++i) {
    rlimit own = {};
    if (::getrlimit(static_cast<__rlimit_resource_t>(i), &own) != 0) continue;
    const rlim_t hard = std::min<rlim_t>(limits[i].hard, own.rlim_max);
    const rlim_t soft = std::min<rlim_t>(limits[i].soft, hard);
    if (soft == own.rlim_cur && hard == own.rlim_max) continue;
    own = {soft, hard};
    program.op(SYS_prlimit64, 0, i, program.put_value(own), 0);
  }
}

}  // namespace mitosis::restore
