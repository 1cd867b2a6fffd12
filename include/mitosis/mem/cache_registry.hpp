// SPDX-License-Identifier: MIT
// CacheRegistry: the caches of an agent, one a prepared parent, and when they go. World: user.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/page_cache.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace mitosis {

/// Which prepared parent. The generation keeps an earlier parent's pages from its successor.
struct CacheKey {
  MachineId machine = MachineId::none;
  HandlerId handler{};
  Generation generation{};
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 takes the implied 0 for a pointer
  friend constexpr auto operator<=>(const CacheKey&, const CacheKey&) noexcept = default;
};

/// Thread-safe. A cache is in use as long as anybody but the registry has the shared_ptr; one in
/// use is never evicted. Times are nanoseconds of one clock of the caller's.
class CacheRegistry {
 public:
  CacheRegistry(std::uint64_t budget_bytes, std::uint64_t idle_limit_ns) noexcept
      : budget_(budget_bytes), idle_limit_(idle_limit_ns) {}
  /// Caches made from now on are for reads by that device; it must outlive them.
  void land_through(Registrar* registrar) noexcept { registrar_ = registrar; }

  /// The parent's cache, made where there is none.
  Result<std::shared_ptr<LocalCache>> acquire(const CacheKey& key, const CachePlaces& places,
                                              std::uint64_t now_ns);
  /// Puts the memfds of a dead process's cache back to use. Where this parent's cache is there
  /// already, hands that out; it may be given the very same descriptor numbers again.
  Result<std::shared_ptr<LocalCache>> attach(const CacheKey& key, const CachePlaces& places,
                                             UniqueFd pages, UniqueFd index, std::uint64_t now_ns);

  /// Evicts what has been without users for the idle limit and, where a cache was refused room
  /// since the last call, least recently used ones until a quarter of the budget is free. To be
  /// called every now and then: a cache's idle time begins at the last call that saw it used.
  /// Returns how many it evicted.
  std::size_t sweep(std::uint64_t now_ns);
  /// Forgets one, e.g. because its parent was reclaimed; children that use it keep it alive.
  void forget(const CacheKey& key);

  [[nodiscard]] std::uint64_t bytes_used() const noexcept { return budget_.used(); }
  [[nodiscard]] const CacheBudget& budget() const noexcept { return budget_; }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return caches_.size();
  }

 private:
  struct Entry {
    std::shared_ptr<LocalCache> cache;
    std::uint64_t last_used_ns;
  };
  using Caches = std::map<CacheKey, Entry>;
  // New users come from the registry alone, under the lock: a count of 1 stays so while it is held.
  static bool in_use(const Entry& e) noexcept { return e.cache.use_count() > 1; }
  std::size_t evict_idle(std::uint64_t now_ns);
  std::size_t evict_for_room();

  CacheBudget budget_;  // before the caches: they give back to it
  const std::uint64_t idle_limit_;
  Registrar* registrar_ = nullptr;
  mutable std::mutex mutex_;
  Caches caches_;
};

inline Result<std::shared_ptr<LocalCache>> CacheRegistry::acquire(const CacheKey& key,
                                                                  const CachePlaces& places,
                                                                  std::uint64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (const auto at = caches_.find(key); at != caches_.end()) {
    at->second.last_used_ns = now_ns;
    return at->second.cache;
  }
  auto made = LocalCache::create(places, budget_, registrar_);
  if (!made) return made.error();
  std::shared_ptr<LocalCache> cache = std::move(made).value();
  caches_.emplace(key, Entry{cache, now_ns});
  return cache;
}

inline Result<std::shared_ptr<LocalCache>> CacheRegistry::attach(const CacheKey& key,
                                                                 const CachePlaces& places,
                                                                 UniqueFd pages, UniqueFd index,
                                                                 std::uint64_t now_ns) {
  const std::lock_guard lock(mutex_);
  if (const auto at = caches_.find(key); at != caches_.end()) {
    // Each child's journal names the same two descriptors: the cache owns them already.
    const LocalCache& there = *at->second.cache;
    if (pages.get() == there.pages_fd()) (void)pages.release();
    if (index.get() == there.index_fd()) (void)index.release();
    return at->second.cache;
  }
  auto made = LocalCache::attach(places, std::move(pages), std::move(index), budget_, registrar_);
  if (!made) return made.error();
  std::shared_ptr<LocalCache> cache = std::move(made).value();
  caches_.emplace(key, Entry{cache, now_ns});
  return cache;
}

inline std::size_t CacheRegistry::sweep(std::uint64_t now_ns) {
  const std::lock_guard lock(mutex_);
  std::size_t evicted = evict_idle(now_ns);
  if (budget_.take_shortage()) evicted += evict_for_room();
  return evicted;
}

inline std::size_t CacheRegistry::evict_idle(std::uint64_t now_ns) {
  std::size_t evicted = 0;
  for (auto at = caches_.begin(); at != caches_.end();) {
    const auto here = at++;
    if (in_use(here->second)) {
      here->second.last_used_ns = now_ns;
    } else if (now_ns - here->second.last_used_ns >= idle_limit_) {
      caches_.erase(here);
      ++evicted;
    }
  }
  return evicted;
}

inline std::size_t CacheRegistry::evict_for_room() {
  std::vector<Caches::iterator> idle;
  for (auto at = caches_.begin(); at != caches_.end(); ++at) {
    if (!in_use(at->second)) idle.push_back(at);
  }
  std::sort(idle.begin(), idle.end(), [](const auto& a, const auto& b) {
    return a->second.last_used_ns < b->second.last_used_ns;
  });
  std::size_t evicted = 0;
  for (const auto at : idle) {
    if (budget_.used() <= budget_.limit() / 4 * 3) break;
    caches_.erase(at);
    ++evicted;
  }
  return evicted;
}

inline void CacheRegistry::forget(const CacheKey& key) {
  const std::lock_guard lock(mutex_);
  caches_.erase(key);
}

}  // namespace mitosis
