// SPDX-License-Identifier: MIT
// /proc/PID/stat's addresses: what prctl(PR_SET_MM_MAP) will want. World: user.
#pragma once

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <array>
#include <string_view>

namespace mitosis::capture {

/// Fields 26 to 28 and 45 to 51 (proc(5) counts from 1) into the record; `brk` and the strings are
/// not told there. The kernel shows zeros to a reader without ptrace access: those are refused.
inline Result<void> parse_stat(std::string_view text, descriptor::MmRecord& mm) {
  // The name in parentheses may hold anything, a parenthesis too.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos || name_end + 2 > text.size()) {
    return Error(Errc::unsupported_process, "its stat cannot be read").in("read stat");
  }
  text.remove_prefix(name_end + 2);
  std::array<std::uint64_t, 52> field = {};
  for (std::size_t i = 3; i < field.size() && !text.empty(); ++i) {
    field[i] = number(take_until(text, ' ')).value_or(0);  // negative and letter fields: unused
  }
  if (field[28] == 0 || field[48] == 0) {
    return Error(Errc::missing_privilege, "reading its addresses takes CAP_SYS_PTRACE")
        .in("read stat");
  }
  mm.start_code = field[26];
  mm.end_code = field[27];
  mm.start_stack = field[28];
  mm.start_data = field[45];
  mm.end_data = field[46];
  mm.start_brk = field[47];
  mm.arg_start = field[48];
  mm.arg_end = field[49];
  mm.env_start = field[50];
  mm.env_end = field[51];
  return {};
}

}  // namespace mitosis::capture
