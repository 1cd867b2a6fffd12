// SPDX-License-Identifier: MIT
// /proc/PID/stat's addresses: what prctl(PR_SET_MM_MAP) will want. World: user.
#pragma once

#include <mitosis/fork/user/capture/stat_fields.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <string_view>

namespace mitosis::capture {

/// Fields 26 to 28 and 45 to 51 into the record; `brk` and the strings are
/// not told there. The kernel shows zeros to a reader without ptrace access: those are refused.
inline Result<void> parse_stat(std::string_view text, descriptor::MmRecord& mm) {
  const auto field = StatFields::split(text);
  if (!field) return Error(Errc::unsupported_process, "its stat cannot be read").in("read stat");
  if (field->number_at(28) == 0 || field->number_at(48) == 0) {
    return Error(Errc::missing_privilege, "reading its addresses takes CAP_SYS_PTRACE")
        .in("read stat");
  }
  mm.start_code = field->number_at(26);
  mm.end_code = field->number_at(27);
  mm.start_stack = field->number_at(28);
  mm.start_data = field->number_at(45);
  mm.end_data = field->number_at(46);
  mm.start_brk = field->number_at(47);
  mm.arg_start = field->number_at(48);
  mm.arg_end = field->number_at(49);
  mm.env_start = field->number_at(50);
  mm.env_end = field->number_at(51);
  return {};
}

}  // namespace mitosis::capture
