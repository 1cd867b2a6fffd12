// SPDX-License-Identifier: MIT
// Calls of the local agent that take more than one packet. World: user.
#pragma once

#include <mitosis/fork/user/local/channel.hpp>
#include <mitosis/fork/user/local/messages.hpp>

#include <cstdint>
#include <iterator>
#include <vector>

namespace mitosis::tools {

/// All rows that the caller may see.
inline Result<std::vector<local::ListRow>> list_all(const local::ChannelView& agent,
                                                    local::Deadline deadline) {
  std::vector<local::ListRow> rows;
  while (true) {
    const local::List request{static_cast<std::uint32_t>(rows.size())};
    Result<local::Listing> part = agent.call<local::Listing>(request, deadline);
    if (!part) return part.error();
    rows.insert(rows.end(), std::make_move_iterator(part->rows.begin()),
                std::make_move_iterator(part->rows.end()));
    if (!part->more || part->rows.empty()) return rows;
  }
}

}  // namespace mitosis::tools
