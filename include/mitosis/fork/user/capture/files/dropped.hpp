// SPDX-License-Identifier: MIT
// drop(): an open file that cannot be captured is left out, where its caller allows that. World:
// user.
#pragma once

#include <fcntl.h>

#include <fmt/format.h>

#include <mitosis/fork/user/capture/files/open_file.hpp>
#include <mitosis/fork/user/capture/proc_text.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace mitosis::capture {

/// What was left out, a sentence each: "descriptor 5 (socket:[77]) is a netlink socket".
using Dropped = std::vector<std::string>;

/// Whether the refusal is of that one file.
inline bool can_be_dropped(const Error& why) noexcept {
  return why.code == Errc::unsupported_file || why.code == Errc::limit_exceeded;
}

/// The file keeps its number and whether it is closed on exec; nothing else of it comes along.
/// `process` is an open /proc/PID.
inline void drop(int process, OpenFile& file, const Error& why, Dropped& dropped) {
  file.kind = descriptor::FileKind::dropped;
  file.same_as = -1;
  file.offset = 0;
  file.data.clear();
  file.info.clear();
  file.locks.clear();
  file.spare.reset();
  const auto text = read_at(process, fmt::format("fdinfo/{}", file.number).c_str(), 1u << 24);
  const auto flags = text ? number<std::uint32_t>(field(view(*text), "flags"), 8) : std::nullopt;
  file.flags = flags.value_or(0) & static_cast<std::uint32_t>(O_CLOEXEC);
  std::string about(why.subject.c_str());
  about.resize(std::min(about.size(), about.find("; ")));  // what to do: it has been done
  dropped.push_back(why.code == Errc::unsupported_file
                        ? about
                        : fmt::format("descriptor {} ({}): {}", file.number, file.path, about));
}

}  // namespace mitosis::capture
