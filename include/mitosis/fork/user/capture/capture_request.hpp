// SPDX-License-Identifier: MIT
// CaptureRequest: what a descriptor is made from, beside what the shadow says itself. World: user.
#pragma once

#include <sys/types.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/span.hpp>
#include <mitosis/fork/user/capture/ancestry.hpp>
#include <mitosis/fork/user/capture/marks.hpp>
#include <mitosis/fork/user/capture/pagemap.hpp>
#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/mem/descriptor/tree_records.hpp>

#include <cstdint>

namespace mitosis::capture {

struct CaptureRequest {
  pid_t shadow = 0;
  HandlerId handler{};
  Generation generation{};
  descriptor::OwnerRecord self = {};  ///< this machine: becomes owner 0
  Ancestry ancestry;                  ///< where the parent is itself a child
  PagemapMethod method = PagemapMethod::automatic;
  Span<const descriptor::MemberRecord> tree;  ///< of a tree's root: all members
  Span<const ThreadState> threads;  ///< [0] is the leader; none: what the shadow said of its own
  std::uint64_t hidden_start = 0, hidden_end = 0;  ///< memory that the program does not have
  bool by_pid = false;  ///< it did not call prepare: its children are told, where it wants that
  Span<const MarkedRange> unmarked;  ///< the shadow has lost these marks for its clone, ascending
};

}  // namespace mitosis::capture
