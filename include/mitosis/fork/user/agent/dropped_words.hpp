// SPDX-License-Identifier: MIT
// told(): what a lossy prepare has left out, as its caller hears it. World: user.
#pragma once

#include <mitosis/fork/user/capture/capture.hpp>

#include <string>

namespace mitosis::agent::detail {

/// As many of the sentences as a packet has room for.
inline capture::Dropped told(capture::Dropped all) {
  constexpr std::size_t most = 100;
  if (all.size() > most) {
    const std::size_t others = all.size() - most;
    all.resize(most);
    all.push_back("and " + std::to_string(others) + " more open files");
  }
  return all;
}

}  // namespace mitosis::agent::detail
