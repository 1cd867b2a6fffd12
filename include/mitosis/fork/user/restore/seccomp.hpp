// SPDX-License-Identifier: MIT
// The parent's seccomp filters, installed in the child's threads. World: user.
// The last that the restorer does in each of them: what a filter forbids is not needed any more but
// munmap(2) and rt_sigreturn(2).
#pragma once

#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/fork/user/restore/program_writer.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstddef>

namespace mitosis::restore {

/// missing_privilege where the kernel would not take them from the calling process.
inline Result<void> check_filters(const DescriptorView& view) noexcept {
  if (view.filters().size() == 0) return {};
  const bool no_new_privs = view.process().size() != 0 &&
                            (view.process()[0].flags & descriptor::process_no_new_privs) != 0;
  if (no_new_privs || ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return {};
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (::syscall(SYS_capget, &header, data) == 0 && (data[0].effective >> CAP_SYS_ADMIN & 1) != 0) {
    return {};
  }
  return Error(Errc::missing_privilege,
               "CAP_SYS_ADMIN, for its seccomp filters (it has no no_new_privs)")
      .in("check its seccomp filters");
}

/// How many ops and how much data write_filters adds in all threads together, at most.
inline std::size_t filter_ops(const DescriptorView& view) noexcept {
  return view.filters().size();
}
inline std::size_t filter_bytes(const DescriptorView& view) noexcept {
  return view.filter_code().size() + view.filters().size() * (sizeof(sock_fprog) + 16) + 4096;
}

/// Those of the descriptor's thread `thread`, the oldest first.
inline void write_filters(const DescriptorView& view, std::size_t thread, ProgramWriter& program) {
  for (const descriptor::FilterRecord& filter : view.filters()) {
    if (filter.thread != thread) continue;
    const std::uint64_t code = program.put(view.filter_code().sub(
        std::uint64_t{filter.first} * sizeof(sock_filter), filter.count * sizeof(sock_filter)));
    sock_fprog whole = {};
    whole.len = static_cast<unsigned short>(filter.count);
    whole.filter = reinterpret_cast<sock_filter*>(code);
    program.op(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter.flags, program.put_value(whole));
  }
}

}  // namespace mitosis::restore
