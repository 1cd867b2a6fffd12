// SPDX-License-Identifier: MIT
// ThreadState: all that a descriptor says of one thread. World: user.
#pragma once

#include <mitosis/mem/descriptor/attribute_records.hpp>
#include <mitosis/mem/descriptor/records.hpp>

#include <cstdint>
#include <vector>

namespace mitosis::capture {

/// A seccomp(2) filter.
struct SeccompFilter {
  std::uint32_t flags = 0;
  std::vector<std::uint64_t> code;  ///< struct sock_filter, as it is
};

struct ThreadState {
  descriptor::ThreadRecord record = {};          ///< the builder sets its xstate_offset and _bytes
  descriptor::SchedulingRecord scheduling = {};  ///< the leader's is read by the agent
  std::vector<std::uint8_t> xstate;              ///< an XSAVE area in the standard format
  std::vector<SeccompFilter> filters;            ///< the oldest first
};

}  // namespace mitosis::capture
