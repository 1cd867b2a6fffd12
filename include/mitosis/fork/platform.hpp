// SPDX-License-Identifier: MIT
// Platform: what the engine needs of the world it runs in. World: any (freestanding).
// Three worlds model it: sim (arrays of pages), user (userfaultfd) and kernel (page tables).
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/mem/page.hpp>
#include <mitosis/mem/page_cache_concept.hpp>
#include <mitosis/net/fabric.hpp>

#include <concepts>
#include <cstdint>

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

}  // namespace mitosis
