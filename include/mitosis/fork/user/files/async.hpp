// SPDX-License-Identifier: MIT
// Async: who is told by a signal that a file is ready (fcntl(2): F_SETOWN_EX, F_SETSIG).
// World: user. Whether anyone is told is O_ASYNC among the record's flags.
#pragma once

#include <cstdint>

namespace mitosis::files {

/// Nobody but the program itself can be named: other processes stay behind.
enum class Owner : std::uint8_t { none = 0, process = 1, thread = 2, group = 3, last = group };

struct Async {
  Owner owner = Owner::none;
  std::uint8_t signal = 0;  ///< 0: SIGIO
  template <class A>
  void fields(A& a) {
    a(owner, signal);
  }
};

}  // namespace mitosis::files
