// SPDX-License-Identifier: MIT
// Worker: take-over of an earlier worker's children. World: user.
// Included by agent.hpp, as worker_impl.hpp is.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/cache_layout.hpp>
#include <mitosis/fork/user/agent/worker.hpp>
#include <mitosis/policy/parse.hpp>

#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::agent {

/// One child, with the image and the cache that it had.
inline Result<void> Worker::adopt(ChildSlot& slot) {
  auto bytes = read_all(slot.descriptor_fd);
  if (!bytes) return bytes.error();
  auto image = images.get({slot.machine, slot.handler, slot.generation}, std::move(bytes).value(),
                          slot.policy);
  if (!image) return image.error();
  peers->learn_addresses((*image)->view());
  auto policy = parse_policy(slot.policy, std::strlen(slot.policy));
  if (!policy) return policy.error();
  std::shared_ptr<LocalCache> cache;
  std::vector<std::uint32_t> carried;
  for (std::uint32_t i = 0; i < ChildSlot::max_carried; ++i) {
    if ((slot.carried[i / 64] >> (i % 64) & 1) != 0) carried.push_back(i);
  }
  if (slot.cache_fd >= 0) {
    auto full = restore::layout((*image)->view(), {.cache_local = true, .carried = {}});
    if (!full) return full.error();
    auto places = places_of(*full);
    if (!places) return places.error();
    auto attached = caches.attach({slot.machine, slot.handler, slot.generation}, *places,
                                  UniqueFd(::fcntl(slot.cache_fd, F_DUPFD_CLOEXEC, 0)),
                                  UniqueFd(::fcntl(slot.cache_index_fd, F_DUPFD_CLOEXEC, 0)),
                                  static_cast<std::uint64_t>(tcp::monotonic_now()));
    if (!attached) return attached.error();
    cache = *attached;
  }
  auto mappings =
      restore::layout((*image)->view(), {cache != nullptr, Span<const std::uint32_t>(carried)});
  if (!mappings) return mappings.error();
  Pager::Newcomer newcomer{&slot, *image, *policy, cache,
                           std::make_shared<const MemfdRanges>(memfd_ranges(*mappings))};
  return pager_of((*image)->name()).adopt(newcomer, false);
}

/// The children of a worker that died: each sleeps in its next fault until it is served again. One
/// that cannot be served is ended, for it would sleep for ever.
inline void Worker::adopt_children() {
  // All of them first: those that are adopted fork at once, and what they fork has a pager.
  std::vector<ChildSlot*> orphans;
  for (ChildSlot& slot : table.children) {
    if (slot.state.load() == static_cast<std::uint32_t>(SlotState::live)) orphans.push_back(&slot);
  }
  for (ChildSlot* const orphan : orphans) {
    ChildSlot& slot = *orphan;
    if (auto r = adopt(slot); !r) {
      spdlog::error("child {} cannot be served any more and is ended: {}", slot.pid,
                    describe(r.error()));
      // Without its number it cannot be ended: the slot keeps its userfaultfd open, so that it
      // sleeps rather than reads zeros.
      if (slot.pidfd < 0) continue;
      ::syscall(SYS_pidfd_send_signal, slot.pidfd, SIGKILL, nullptr, 0);
      table.forget(slot);
    }
  }
}

}  // namespace mitosis::agent
