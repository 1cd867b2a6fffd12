// SPDX-License-Identifier: MIT
// Platform: what the engine needs of the world it runs in. World: any (freestanding).
// Three worlds model it: sim (arrays of pages), user (userfaultfd) and kernel (page tables).
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/fork/cache_waiters.hpp>
#include <mitosis/mem/allocator.hpp>
#include <mitosis/mem/page.hpp>
#include <mitosis/mem/page_cache_concept.hpp>
#include <mitosis/net/fabric.hpp>

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace mitosis {

/// How an installation ended. `again`: the mapping is changing; read its events, then retry.
/// `exists`: another thread was faster, which is as good. `gone`: the child is dead.
/// `split`: the range crosses a mapping's end; retry with the faulting page alone.
/// `unmapped`: nothing is mapped there any more.
enum class Install : std::uint8_t { done, exists, again, split, unmapped, gone, failed };

struct InstallResult {
  Install status = Install::done;
  std::uint64_t pages = 0;  ///< how many pages from the range's start on are now in place
};

/// One child's memory, as its pager changes it. Installing wakes who waits for those pages.
template <class M>
concept ChildMemory = requires(M m, PageRange range, const std::uint8_t* bytes, PageNumber page,
                               Errc why) {
  /// Private pages with these bytes.
  { m.copy_in(range, bytes) }
  noexcept->std::same_as<InstallResult>;
  /// Pages of zeros.
  { m.zero_in(range) }
  noexcept->std::same_as<InstallResult>;
  /// Pages that the machine's cache holds for `source`, shared until written.
  { m.map_cached(range, page) }
  noexcept->std::same_as<InstallResult>;
  /// The page cannot be had: whoever touches it gets SIGBUS.
  { m.fail(page, why) }
  noexcept->std::same_as<void>;
  /// Lets waiting threads fault again.
  { m.wake(range) }
  noexcept->std::same_as<void>;
};

/// Reads pages through the owner's CPU when one-sided reads cannot have them. Completes through
/// the same queue as the fabric, with the request's cookie.
template <class R>
concept Fallback = requires(R r, const ReadRequest& request) {
  { r.read(request) }
  noexcept->std::same_as<void>;
};

/// What a one-sided read of an owner's pages needs to name.
struct Owner {
  MachineId machine = MachineId::none;
  TargetName target;
};

/// Everything that one child's driver needs: the child's own memory, and what it shares with the
/// machine's other children. Cheap to copy: it holds references. All of it belongs to one thread.
template <class P>
concept Platform = requires(P p, const P constant, std::uint16_t owner, std::uint64_t pages,
                            LocalMemory landing) {
  typename P::Allocator;
  requires Allocator<typename P::Allocator>;
  /// For the child's page map.
  { constant.allocator() }
  noexcept->std::same_as<typename P::Allocator>;
  requires ChildMemory<std::remove_cvref_t<decltype(p.memory())>>;
  requires PageCache<std::remove_cvref_t<decltype(p.cache())>>;
  requires Fabric<std::remove_cvref_t<decltype(p.fabric())>>;
  requires Fallback<std::remove_cvref_t<decltype(p.fallback())>>;
  requires noexcept(p.memory())&& noexcept(p.cache())&& noexcept(p.fabric());
  requires noexcept(p.fallback());
  /// Who of the cache's other children wait for its pages; one object a cache.
  { p.waiters() }
  noexcept->std::same_as<CacheWaiters&>;
  { p.now() }
  noexcept->std::same_as<Time>;
  /// The descriptor's owner of that index.
  { p.owner(owner) }
  noexcept->std::same_as<Owner>;
  /// Memory for one read, that the fabric may write; null: none is free now.
  { p.acquire_landing(pages) }
  noexcept->std::same_as<LocalMemory>;
  { p.release_landing(landing, pages) }
  noexcept->std::same_as<void>;
};

}  // namespace mitosis
