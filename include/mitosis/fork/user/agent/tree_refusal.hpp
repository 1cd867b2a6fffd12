// SPDX-License-Identifier: MIT
// needs_namespace(): why a tree of processes is not resumed. World: user.
#pragma once

#include <mitosis/base/error.hpp>

namespace mitosis::agent::detail {

/// A tree's members have their numbers, and end with its root.
inline Error needs_namespace() noexcept {
  return Error(Errc::invalid_argument,
               "it was prepared as a tree of processes, which takes a pid namespace: spawn --pidns")
      .in("resume");
}

}  // namespace mitosis::agent::detail
