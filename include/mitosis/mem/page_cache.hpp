// SPDX-License-Identifier: MIT
// LocalCache: the machine's copy of one prepared parent's pages; models PageCache. World: user.
// Cache<Local>: reads land in a memfd that the children map privately, so that a page is fetched
// once and is physically shared until written.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/cache_budget.hpp>
#include <mitosis/mem/cache_places.hpp>
#include <mitosis/mem/page_cache_concept.hpp>
#include <mitosis/mem/presence.hpp>
#include <mitosis/mem/registered_windows.hpp>
#include <mitosis/mem/shared_mapping.hpp>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis {

/// Two memfds: the pages, and which of them are there. Used by one pager thread at a time, except
/// for `bytes_used`, which any thread may ask. Charges the budget, which must outlive it.
/// With a registrar (which must outlive it too) a device can write its slots: what is registered is
/// resident, so that up to half a MiB around each page that is fetched is not charged.
class LocalCache {
 public:
  /// An empty cache. Only pages within a place can be cached.
  static Result<std::unique_ptr<LocalCache>> create(CachePlaces places, CacheBudget& budget,
                                                    Registrar* registrar = nullptr);
  /// Goes on with the memfds of a process that died: what was there is there, what was being
  /// filled is absent. invalid_argument: they are of other places.
  static Result<std::unique_ptr<LocalCache>> attach(CachePlaces places, UniqueFd pages,
                                                    UniqueFd index, CacheBudget& budget,
                                                    Registrar* registrar = nullptr);
  LocalCache(const LocalCache&) = delete;
  LocalCache& operator=(const LocalCache&) = delete;
  ~LocalCache() { budget_.give_back(bytes_used()); }

  // ---- PageCache ----
  CacheState state(PageNumber source) noexcept;
  void begin_fill(PageRange range) noexcept;
  void end_fill(PageRange range, bool ok) noexcept;
  LocalMemory slot(PageRange range) noexcept;

  /// A read-only descriptor of the pages' memfd, for a child of another user to map privately: it
  /// can neither write nor resize it.
  [[nodiscard]] Result<UniqueFd> open_read_only() const noexcept;
  [[nodiscard]] int pages_fd() const noexcept { return fd_.get(); }
  [[nodiscard]] int index_fd() const noexcept { return present_.fd(); }
  [[nodiscard]] const CachePlaces& places() const noexcept { return places_; }
  [[nodiscard]] std::uint64_t bytes_used() const noexcept {
    return used_.load(std::memory_order_relaxed) << page_shift;
  }

 private:
  LocalCache(CachePlaces places, UniqueFd fd, SharedMapping memory, Presence present,
             CacheBudget& budget, Registrar* registrar)
      : places_(std::move(places)),
        fd_(std::move(fd)),
        memory_(std::move(memory)),
        windows_(registrar, MutableBytes(memory_.data(), memory_.size())),
        present_(std::move(present)),
        filling_(places_.memfd_pages()),
        budget_(budget) {}

  void charge(std::uint64_t pages) noexcept {
    used_.fetch_add(pages, std::memory_order_relaxed);
    budget_.charge(pages << page_shift);
  }
  void give_back(std::uint64_t pages) noexcept {
    used_.fetch_sub(pages, std::memory_order_relaxed);
    budget_.give_back(pages << page_shift);
  }
  /// Frees memfd pages that hold nothing whole. No device may know them: it would go on writing to
  /// the pages that were, and children would see the new ones.
  void punch(std::uint64_t at, std::uint64_t pages) noexcept {
    ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(at << page_shift), static_cast<off_t>(pages << page_shift));
  }
  void drop_unfinished() noexcept;

  CachePlaces places_;
  UniqueFd fd_;
  SharedMapping memory_;
  RegisteredWindows windows_;  // after the memory, to end before it
  Presence present_;
  std::vector<bool> filling_;  // by memfd page; of this process alone: it dies with the reads
  std::atomic<std::uint64_t> used_{0};  // pages that are present or being filled
  CacheBudget& budget_;
};

}  // namespace mitosis

#include <mitosis/mem/page_cache_impl.hpp>
