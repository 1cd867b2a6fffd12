// SPDX-License-Identifier: MIT
// How the processes of a tree belong together: parents, process groups, sessions. World: user.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/mem/descriptor/tree_records.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mitosis::capture {

/// Of a /proc/PID/stat (proc(5)).
struct ProcessLinks {
  char state = 0;
  std::uint32_t group = 0, session = 0;  ///< pids of their leaders
  bool leader_lives = false;             ///< of the group
  std::uint32_t exit_signal = 0;
  std::uint32_t threads = 0;
  std::uint32_t status = 0;  ///< of a zombie: as of waitpid(2)
  std::string name;
  /// It has ended, and nobody has been told.
  [[nodiscard]] bool is_zombie() const noexcept { return state == 'Z' && threads <= 1; }
  /// A parent's frozen copy, which is its child, but not the program's.
  [[nodiscard]] bool is_shadow() const noexcept {
    return exit_signal == 0 && name == "mitosis-shadow";
  }
};

inline Result<ProcessLinks> read_links(pid_t pid) {
  const auto process = open_process(pid);
  if (!process) return process.error();
  const auto stat = read_at(process->get(), "stat", 1u << 16);
  if (!stat) return stat.error();
  std::string_view text = view(*stat);
  const std::size_t name_start = text.find('('), name_end = text.rfind(')');
  if (name_start == std::string_view::npos || name_end == std::string_view::npos ||
      name_end + 2 > text.size()) {
    return Error(Errc::unsupported_process, "its stat cannot be read").in("check the tree");
  }
  ProcessLinks links;
  links.name = std::string(text.substr(name_start + 1, name_end - name_start - 1));
  text.remove_prefix(name_end + 2);
  std::array<std::uint32_t, 53> field = {};
  for (std::size_t i = 3; i < field.size() && !text.empty(); ++i) {
    const std::string_view word = take_until(text, i == 52 ? '\n' : ' ');
    if (i == 3 && !word.empty()) links.state = word.front();
    field[i] = number<std::uint32_t>(word).value_or(0);  // what is negative or longer is not used
  }
  links.group = field[5];
  links.session = field[6];
  links.leader_lives = ::access(fmt::format("/proc/{}", links.group).c_str(), F_OK) == 0;
  links.threads = field[20];
  links.exit_signal = field[38];
  links.status = field[52];
  return links;
}

/// Fills in groups and sessions of `members`, whose `pid` and `parent` are known; `links` are
/// theirs in the same order. What cannot be made again is refused: sessions begin with their leader
/// and are handed down. A group whose leader has ended and was waited for gets one that does the
/// same, behind the other members.
inline Result<void> link_members(const std::vector<ProcessLinks>& links,
                                 std::vector<descriptor::MemberRecord>& members) {
  using descriptor::no_leader;
  const auto refuse = [&](std::size_t member, const std::string& why) {
    const std::string about = fmt::format("process {} {}", members[member].pid, why);
    return Error(Errc::unsupported_process, about.c_str()).in("check the tree");
  };
  const auto leader = [&members](std::uint32_t pid) {
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (members[i].pid == pid) return static_cast<std::uint32_t>(i);
    }
    return no_leader;
  };
  for (std::size_t i = 0; i < links.size(); ++i) {
    descriptor::MemberRecord& m = members[i];
    m.session = leader(links[i].session);
    m.group = leader(links[i].group);
    if (m.session == no_leader && links[i].session != links[0].session) {
      return refuse(
          i, fmt::format("is of session {}, whose leader is not of its tree", links[i].session));
    }
    if (i > 0 && m.session != i && m.session != members[m.parent].session) {
      return refuse(i, fmt::format("is of session {}, and its parent of {}", links[i].session,
                                   links[m.parent].session));
    }
    if (m.group != no_leader || links[i].group == links[0].group) continue;
    if (links[i].leader_lives || members.size() == descriptor::max_members) {
      return refuse(i, fmt::format("is of process group {}, whose leader is not of its tree",
                                   links[i].group));
    }
    descriptor::MemberRecord gone = {};
    gone.pid = links[i].group;
    gone.parent = m.parent;
    gone.session = m.session;
    gone.exit_signal = SIGCHLD;
    gone.flags = descriptor::member_gone;
    gone.group = m.group = static_cast<std::uint32_t>(members.size());
    members.push_back(gone);
  }
  return {};
}

}  // namespace mitosis::capture
