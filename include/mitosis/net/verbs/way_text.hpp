// SPDX-License-Identifier: MIT
// A Way as text, to be told to others: "GID/QUEUE_PAIR/LID", the gid as sysfs has it. World: user.
#pragma once

#include <fmt/format.h>

#include <mitosis/base/result.hpp>
#include <mitosis/net/rpc/ud/way.hpp>
#include <mitosis/net/verbs/gid_text.hpp>

#include <cstdio>
#include <string>

namespace mitosis::verbs {

[[nodiscard]] inline std::string way_text(const rpc::ud::Way& way) {
  return fmt::format("{}/{}/{}", gid_text(way.gid), way.queue_pair, way.lid);
}

/// invalid_argument where it is none.
[[nodiscard]] inline Result<rpc::ud::Way> parse_way(const std::string& text) {
  unsigned groups[8];
  unsigned queue_pair = 0, lid = 0;
  int end = 0;
  const int found = std::sscanf(text.c_str(), "%4x:%4x:%4x:%4x:%4x:%4x:%4x:%4x/%8u/%5u%n",
                                &groups[0], &groups[1], &groups[2], &groups[3], &groups[4],
                                &groups[5], &groups[6], &groups[7], &queue_pair, &lid, &end);
  if (found != 10 || static_cast<std::size_t>(end) != text.size() || queue_pair >= 1u << 24 ||
      lid > 0xffff) {
    return Error(Errc::invalid_argument, (text + ": expected GID/QUEUE_PAIR/LID").c_str());
  }
  rpc::ud::Way way;
  for (std::size_t i = 0; i < 8; ++i) {
    way.gid[2 * i] = static_cast<std::uint8_t>(groups[i] >> 8);
    way.gid[2 * i + 1] = static_cast<std::uint8_t>(groups[i] & 0xff);
  }
  way.queue_pair = queue_pair;
  way.lid = static_cast<std::uint16_t>(lid);
  return way;
}

}  // namespace mitosis::verbs
