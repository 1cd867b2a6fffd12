// SPDX-License-Identifier: MIT
// What two connection pools say while they set a link up, over an authenticated TCP connection that
// then stays: it tells that the other pool has ended. World: user.
#pragma once

#include <mitosis/net/rpc/rdma_messages.hpp>

#include <cstdint>

namespace mitosis::verbs {

/// Part of the protocol: append, never renumber.
enum class LinkMessage : std::uint16_t { end = 1, ready = 2 };

/// One end, as the other needs it.
struct LinkEnd {
  static constexpr LinkMessage type = LinkMessage::end;
  rpc::QueuePairEnd end;
  template <class A>
  void fields(A& a) {
    a(end);
  }
};
/// The other end may be sent to.
struct LinkReady {
  static constexpr LinkMessage type = LinkMessage::ready;
  template <class A>
  void fields(A&) {}
};

}  // namespace mitosis::verbs
