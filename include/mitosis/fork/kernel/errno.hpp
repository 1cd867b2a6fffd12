// SPDX-License-Identifier: MIT
// The kernel's error numbers, and those that stand for a code. World: kernel.
#pragma once

#include <mitosis/base/errc.hpp>

namespace mitosis::kernel {

inline constexpr int errno_no_entry = 2, errno_io = 5, errno_again = 11, errno_no_memory = 12,
                     errno_access = 13, errno_invalid = 22, errno_protocol = 71,
                     errno_not_supported = 95, errno_timed_out = 110, errno_unreachable = 113,
                     errno_stale = 116;

/// Below zero, as the shim has it; 0 for ok.
constexpr int errno_of(Errc code) noexcept {
  switch (code) {
    case Errc::ok:
      return 0;
    case Errc::unknown_handler:
      return -errno_no_entry;
    case Errc::wrong_key:
    case Errc::not_permitted:
    case Errc::missing_privilege:
    case Errc::authentication_failed:
      return -errno_access;
    case Errc::out_of_memory:
      return -errno_no_memory;
    case Errc::revoked:
    case Errc::lease_expired:
      return -errno_stale;
    case Errc::timed_out:
      return -errno_timed_out;
    case Errc::protocol_mismatch:
    case Errc::bad_message:
      return -errno_protocol;
    case Errc::unsupported_process:
    case Errc::unsupported_file:
    case Errc::transport_unsupported:
      return -errno_not_supported;
    case Errc::machine_unreachable:
    case Errc::connection_lost:
    case Errc::shutting_down:
      return -errno_unreachable;
    case Errc::bad_descriptor:
    case Errc::invalid_argument:
    case Errc::wrong_architecture:
    case Errc::vdso_mismatch:
    case Errc::missing_cpu_feature:
      return -errno_invalid;
    default:
      return -errno_io;
  }
}

}  // namespace mitosis::kernel
