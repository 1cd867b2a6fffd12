// SPDX-License-Identifier: MIT
// TargetTable: what other machines may read one-sidedly, by target number and key. World: user.
// The user-space stand-in for a NIC's targets: destroying one ends access there and then.
#pragma once

#include <sys/random.h>

#include <mitosis/base/ids.hpp>
#include <mitosis/base/result.hpp>
#include <mitosis/mem/page_ranges.hpp>
#include <mitosis/mem/source.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

namespace mitosis {

/// Thread-safe. Reads of a target run at once, next to each other; `revoke` waits for them.
class TargetTable {
 public:
  /// How much a target was used; what leases and `ps` go by.
  struct Usage {
    std::uint64_t last_touch_ns = 0;
    std::uint64_t reads = 0;
    std::uint64_t bytes = 0;
  };

  /// Makes a target for the pages of `allowed`: nothing else of the source can be read by it.
  /// Number and key are random, the number is never 0.
  Result<TargetName> create(std::shared_ptr<PageSource> source, PageRanges allowed);
  /// The same with a name that an earlier process drew. invalid_argument: the number is taken.
  Result<void> restore(const TargetName& name, std::shared_ptr<PageSource> source,
                       PageRanges allowed);

  /// ok: `into` is filled. revoked: there is no such target, or its key is another. Otherwise
  /// page_unavailable: not within `allowed`, or the source lacks it. No partial success.
  [[nodiscard]] Errc read(const TargetName& name, std::uint64_t address,
                          MutableBytes into) noexcept;

  /// Once it returns no read of the target is being served and none will be. Waits for reads that
  /// are under way, which is as long as a read of memory takes. Idempotent.
  void revoke(std::uint32_t number) noexcept;
  void revoke_all() noexcept;

  /// Notes that the target was used at that time (a clock of the caller's choice). Reads do not
  /// touch it, they are counted. False: there is no such target.
  bool touch(std::uint32_t number, std::uint64_t now_ns) noexcept;
  [[nodiscard]] std::optional<Usage> usage(std::uint32_t number) const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;

 private:
  struct Target {
    Target(std::uint64_t k, std::shared_ptr<PageSource> s, PageRanges a) noexcept
        : key(k), source(std::move(s)), allowed(std::move(a)) {}
    const std::uint64_t key;
    std::shared_mutex serving;           ///< shared while a read is served
    std::atomic<bool> closing{false};    ///< lets no more reads begin
    std::shared_ptr<PageSource> source;  ///< null once revoked
    const PageRanges allowed;
    std::atomic<std::uint64_t> last_touch_ns{0}, reads{0}, bytes{0};
  };
  [[nodiscard]] std::shared_ptr<Target> find(std::uint32_t number) const noexcept {
    const std::shared_lock lock(mutex_);
    const auto at = targets_.find(number);
    return at == targets_.end() ? nullptr : at->second;
  }
  static void close(Target& target) noexcept {
    // First, so that no new reads keep this waiting.
    target.closing.store(true, std::memory_order_relaxed);
    const std::unique_lock lock(target.serving);
    target.source.reset();
  }

  mutable std::shared_mutex mutex_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Target>> targets_;
};

inline Result<TargetName> TargetTable::create(std::shared_ptr<PageSource> source,
                                              PageRanges allowed) {
  for (;;) {
    struct {
      std::uint64_t key;
      std::uint32_t number, unused;
    } drawn;
    if (::getrandom(&drawn, sizeof drawn, 0) != ssize_t{sizeof drawn}) {
      return Error(Errc::system_call_failed, "getrandom", errno).in("create a target");
    }
    if (drawn.number == 0) continue;
    const TargetName name{drawn.number, drawn.key};
    const std::unique_lock lock(mutex_);
    if (targets_.contains(name.number)) continue;
    targets_.emplace(name.number,
                     std::make_shared<Target>(name.key, std::move(source), std::move(allowed)));
    return name;
  }
}

inline Result<void> TargetTable::restore(const TargetName& name, std::shared_ptr<PageSource> source,
                                         PageRanges allowed) {
  auto target = std::make_shared<Target>(name.key, std::move(source), std::move(allowed));
  const std::unique_lock lock(mutex_);
  if (name.number == 0 || !targets_.try_emplace(name.number, std::move(target)).second) {
    return Error(Errc::invalid_argument, "the target number is taken").in("restore a target");
  }
  return {};
}

inline Errc TargetTable::read(const TargetName& name, std::uint64_t address,
                              MutableBytes into) noexcept {
  const auto target = find(name.number);
  if (target == nullptr || target->key != name.key) return Errc::revoked;
  if (target->closing.load(std::memory_order_relaxed)) return Errc::revoked;
  const std::shared_lock lock(target->serving);
  if (target->source == nullptr) return Errc::revoked;
  if (!target->allowed.contains(address, into.size())) return Errc::page_unavailable;
  target->reads.fetch_add(1, std::memory_order_relaxed);
  target->bytes.fetch_add(into.size(), std::memory_order_relaxed);
  return target->source->read(address, into);
}

/// Closed before it is taken out: whoever else revokes it at the same time waits for it as well.
inline void TargetTable::revoke(std::uint32_t number) noexcept {
  const auto target = find(number);
  if (target == nullptr) return;
  close(*target);
  const std::unique_lock lock(mutex_);
  const auto at = targets_.find(number);
  if (at != targets_.end() && at->second == target) targets_.erase(at);
}

inline void TargetTable::revoke_all() noexcept {
  for (;;) {
    std::uint32_t number = 0;
    {
      const std::shared_lock lock(mutex_);
      if (targets_.empty()) return;
      number = targets_.begin()->first;
    }
    revoke(number);
  }
}

inline bool TargetTable::touch(std::uint32_t number, std::uint64_t now_ns) noexcept {
  const auto target = find(number);
  if (target == nullptr) return false;
  target->last_touch_ns.store(now_ns, std::memory_order_relaxed);
  return true;
}

inline std::optional<TargetTable::Usage> TargetTable::usage(std::uint32_t number) const noexcept {
  const auto target = find(number);
  if (target == nullptr) return std::nullopt;
  return Usage{target->last_touch_ns.load(std::memory_order_relaxed),
               target->reads.load(std::memory_order_relaxed),
               target->bytes.load(std::memory_order_relaxed)};
}

inline std::size_t TargetTable::size() const noexcept {
  const std::shared_lock lock(mutex_);
  return targets_.size();
}

}  // namespace mitosis
