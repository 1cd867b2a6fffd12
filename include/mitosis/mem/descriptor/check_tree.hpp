// SPDX-License-Identifier: MIT
// The checks of a descriptor's process tree. World: any (freestanding).
// As in check_memory.hpp, Errc::ok means fine.
#pragma once

#include <mitosis/mem/descriptor/check_process.hpp>
#include <mitosis/mem/descriptor/tree_records.hpp>

namespace mitosis::descriptor {

/// Optional: without it the process is alone. Parents come before their children.
inline Error check_tree(const Sections& s) noexcept {
  if (!whole<MemberRecord>(s.bytes(Tag::tree))) return refuse("tree", "not whole records");
  const auto members = s.records<MemberRecord>(Tag::tree);
  if (members.size() > max_members) return refuse("tree", "over 48");
  std::uint32_t last_file = 0;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const MemberRecord m = members[i];
    const auto bad = [i](const char* f, const char* why) { return refuse(Tag::tree, i, f, why); };
    const auto leads = [&](std::uint32_t leader) {
      return leader == no_leader || leader < members.size();
    };
    if (i == 0 ? m.parent != 0 : m.parent >= i) return bad("parent", "not before it");
    if (has_ended(members[m.parent])) return bad("parent", "has ended");
    if (m.pid == 0 || m.pid > 0x7fffffffu) return bad("pid", "no process number");
    for (std::size_t j = 0; j < i; ++j) {
      if (members[j].pid == m.pid) return bad("pid", "another member's");
    }
    if (!leads(m.group)) return bad("group", "no such member");
    if (!leads(m.session)) return bad("session", "no such member");
    if (m.exit_signal > 64) return bad("exit_signal", "over 64");
    if ((m.flags & ~member_known_flags) != 0) return bad("flags", "unknown");
    if (m.first_file < last_file) return bad("first_file", "before the previous one's");
    if (m.first_file > max_fd + 1) return bad("first_file", "over 1048577");
    last_file = m.first_file;
  }
  return {};
}

}  // namespace mitosis::descriptor
