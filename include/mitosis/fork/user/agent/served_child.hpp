// SPDX-License-Identifier: MIT
// ServedChild: one child as its pager knows it. World: user; its pager's thread alone.
#pragma once

#include <mitosis/base/result.hpp>
#include <mitosis/fork/user/agent/origin_map.hpp>
#include <mitosis/fork/user/agent/paged_child.hpp>
#include <mitosis/fork/user/agent/state_table.hpp>

#include <cstdint>
#include <future>
#include <memory>

namespace mitosis::agent {

/// What dies with the worker; what does not is in the slot.
struct ServedChild {
  std::uint32_t number = 0;  ///< of its cookies; never used again
  ChildSlot* slot = nullptr;
  std::unique_ptr<PagedChild> child;
  OriginMap origin;
  std::shared_ptr<LocalCache> cache;
  std::shared_ptr<const MemfdRanges> memfd;
  std::shared_ptr<WorkingSet> known;  ///< what the children of its parent fetch first
  Time timer = Time::never;
  bool ended = false;
  bool lost_a_page = false;  ///< and the log tells so
  struct Waiting {
    std::promise<Result<void>> told;
  };
  std::unique_ptr<Waiting> all_present;  ///< somebody waits for an eager start
};

}  // namespace mitosis::agent
