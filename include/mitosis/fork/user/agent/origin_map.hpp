// SPDX-License-Identifier: MIT
// OriginMap: which pages of a child would come from an ancestor if nothing had been fetched yet.
// World: user. It tells which changes of an address space the event log must keep: a page can be
// removed from it only once, so the log's length is bounded by what the parent had, however often
// the child gives memory back and takes it again.
#pragma once

#include <mitosis/fork/user/agent/event_log.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/mem/page_map.hpp>

namespace mitosis::agent {

/// One pager thread uses it.
class OriginMap {
 public:
  Errc load(const DescriptorView& view) noexcept {
    for (const descriptor::RunRecord run : view.runs()) {
      const Errc e = add({PageNumber{run.page}, run.count});
      if (e != Errc::ok) return e;
    }
    return Errc::ok;
  }
  Errc add(PageRange range) noexcept {
    return map_.assign(range, {PageState::remote, 0, 0, range.first});
  }
  Errc clone_into(OriginMap& copy) const noexcept { return map_.clone_into(copy.map_); }

  /// Carries a change out; false: it changed nothing and need not be kept. On out_of_memory `error`
  /// says so and the map must not be used any more.
  bool apply(const AddressSpaceEvent& event, Errc& error) noexcept {
    error = Errc::ok;
    const PageRange moved_to{event.to, event.range.count};
    const bool move = event.kind == EventKind::moved;
    if (!touches(event.range) && !(move && touches(moved_to))) return false;
    error = move ? map_.move(event.range, event.to) : map_.erase(event.range);
    return true;
  }

 private:
  [[nodiscard]] bool touches(PageRange range) const noexcept {
    const auto run = map_.next_at_or_after(range.first);
    return run && run->range.first < range.end();
  }
  PageMap<HeapAllocator> map_;
};

}  // namespace mitosis::agent
