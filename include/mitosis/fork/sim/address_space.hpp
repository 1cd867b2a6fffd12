// SPDX-License-Identifier: MIT
// AddressSpace: a process's mappings, pages and sleeping threads; models ChildMemory. World: sim.
// It answers an installation as userfaultfd does, the awkward answers included.
#pragma once

#include <mitosis/fork/platform.hpp>
#include <mitosis/fork/sim/content.hpp>
#include <mitosis/net/sim/random.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// How a thread's access to a page ends.
enum class Access : std::uint8_t { ok, bus_error, segmentation_fault };

/// Pages and who waits for them. It knows nothing of time: whoever owns it delivers what `on_wake`
/// and the faults ask for.
class AddressSpace {
 public:
  // -- ChildMemory ------------------------------------------------------------------------------
  InstallResult copy_in(PageRange range, const std::uint8_t* bytes) noexcept {
    return install(range, [&](std::uint64_t i) { return copy_of(bytes + (i << page_shift)); });
  }
  InstallResult zero_in(PageRange range) noexcept {
    return install(range, [](std::uint64_t) { return new_content(); });
  }
  InstallResult map_cached(PageRange range, PageNumber key) noexcept {
    return install(range, [&](std::uint64_t i) { return cached_(key + i); });
  }
  void fail(PageNumber page, Errc) noexcept {
    if (!has(page) && mapped(page)) poisoned_.insert(page);
    wake({page, 1});
  }
  void wake(PageRange range) noexcept {
    if (on_wake_) on_wake_(range);
  }

  // -- the process's side -----------------------------------------------------------------------
  void map(PageRange range) { vmas_[range.first] = range; }
  /// Splits the mapping at both ends of the range, as mprotect does.
  void split(PageRange range) {
    cut(range.first);
    cut(range.end());
  }
  void unmap(PageRange range) {
    split(range);
    vmas_.erase(vmas_.lower_bound(range.first), vmas_.lower_bound(range.end()));
    remove(range);
  }
  void remove(PageRange range) {
    pages_.erase(pages_.lower_bound(range.first), pages_.lower_bound(range.end()));
    poisoned_.erase(poisoned_.lower_bound(range.first), poisoned_.lower_bound(range.end()));
  }
  /// The pages and the mapping; what was at `to` is gone.
  void move(PageRange from, PageNumber to) {
    std::map<PageNumber, Content> moved;
    for (auto at = pages_.lower_bound(from.first); at != pages_.lower_bound(from.end()); ++at) {
      moved[to + (at->first - from.first)] = at->second;
    }
    unmap({to, from.count});
    unmap(from);
    map({to, from.count});
    pages_.merge(moved);
  }
  /// A copy-on-write copy of mappings and pages; sleepers stay behind.
  void copy_to(AddressSpace& other) const {
    other.vmas_ = vmas_;
    other.pages_ = pages_;
    other.poisoned_ = poisoned_;
  }
  void write(PageNumber page, std::uint64_t stamp) {
    Content fresh = new_content();
    fill(fresh.get(), stamp);
    pages_[page] = std::move(fresh);  // a new copy: whoever shares the old one keeps it
  }

  [[nodiscard]] bool mapped(PageNumber page) const { return vma_of(page).count > 0; }
  [[nodiscard]] bool has(PageNumber page) const { return pages_.count(page) != 0; }
  [[nodiscard]] bool poisoned(PageNumber page) const { return poisoned_.count(page) != 0; }
  [[nodiscard]] const Content& content(PageNumber page) const { return pages_.at(page); }
  [[nodiscard]] const std::map<PageNumber, Content>& pages() const noexcept { return pages_; }
  [[nodiscard]] const std::map<PageNumber, PageRange>& vmas() const noexcept { return vmas_; }

  /// While a change has not been read by the pager, nothing can be installed.
  void begin_change() noexcept { ++changing_; }
  void end_change() noexcept { --changing_; }
  void die() noexcept { dead_ = true; }
  [[nodiscard]] bool dead() const noexcept { return dead_; }

  std::function<void(PageRange)> on_wake_;     ///< threads that sleep there fault again
  std::function<Content(PageNumber)> cached_;  ///< the cache's page of that key
  Random* random = nullptr;                    ///< for `again` out of the blue
  std::uint32_t again_per_million = 0;

 private:
  template <class Make>
  InstallResult install(PageRange range, Make&& make) noexcept {
    if (dead_) return {Install::gone, 0};
    if (changing_ > 0) return {Install::again, 0};
    if (random != nullptr && random->chance(again_per_million)) return {Install::again, 0};
    const PageRange vma = vma_of(range.first);
    if (vma.empty() || vma.end() < range.end()) {
      return {range.count > 1 ? Install::split : Install::unmapped, 0};
    }
    for (std::uint64_t i = 0; i < range.count; ++i) {
      const PageNumber page = range.first + i;
      if (has(page) || poisoned(page)) {
        if (i > 0) wake({range.first, i});
        // As the kernel has it: what comes after some pages is `again`, only the first is `exists`.
        return {i > 0 ? Install::again : Install::exists, i};
      }
      pages_[page] = make(i);
    }
    wake(range);
    return {Install::done, range.count};
  }
  [[nodiscard]] PageRange vma_of(PageNumber page) const {
    auto at = vmas_.upper_bound(page);
    if (at == vmas_.begin()) return {};
    --at;
    return at->second.contains(page) ? at->second : PageRange{};
  }
  void cut(PageNumber page) {
    const PageRange vma = vma_of(page);
    if (vma.empty() || vma.first == page) return;
    vmas_[vma.first].count = page - vma.first;
    vmas_[page] = {page, vma.end() - page};
  }

  std::map<PageNumber, PageRange> vmas_;  ///< by first page
  std::map<PageNumber, Content> pages_;
  std::set<PageNumber> poisoned_;
  int changing_ = 0;
  bool dead_ = false;
};
static_assert(ChildMemory<AddressSpace>);

}  // namespace mitosis::sim
