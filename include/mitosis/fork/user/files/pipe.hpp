// SPDX-License-Identifier: MIT
// Pipe: a pipe or FIFO with what is in it. World: user.
#pragma once

#include <mitosis/fork/user/files/async.hpp>
#include <mitosis/net/wire/limit.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::files {

/// What one read(2) of a packet takes, or any part of a stream.
struct Chunk {
  std::vector<std::uint8_t> bytes;
  template <class A>
  void fields(A& a) {
    a(wire::limit<(1u << 20)>(bytes));
  }
};

/// Descriptors of one pipe share `first`; only that one's payload has the content.
struct Pipe {
  std::int32_t first = -1;     ///< the lowest descriptor of the same pipe, maybe this one
  std::uint32_t capacity = 0;  ///< bytes, of F_GETPIPE_SZ
  bool packets = false;        ///< the content was written in packet mode (O_DIRECT)
  std::vector<Chunk> content;  ///< oldest first
  Async async;
  template <class A>
  void fields(A& a) {
    a(first, capacity, packets, content, async);
  }
};

}  // namespace mitosis::files
