// SPDX-License-Identifier: MIT
// The members of LocalCache. World: user. Included by page_cache.hpp only.
#pragma once

#include <mitosis/mem/page_cache.hpp>

namespace mitosis {

static_assert(PageCache<LocalCache>);
static_assert(!PageCache<CachePlaces>);

inline Result<std::unique_ptr<LocalCache>> LocalCache::create(CachePlaces places,
                                                              CacheBudget& budget,
                                                              Registrar* registrar) {
  const std::uint64_t bytes = places.memfd_pages() << page_shift;
  UniqueFd fd(::memfd_create("mitosis-cache", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  // Other users' children get it read-only; the mode keeps them from opening it again to write,
  // the seals anybody from cutting it short under our mapping.
  if (!fd || ::fchmod(fd.get(), 0600) != 0 ||
      ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return Error(Errc::system_call_failed, "memfd of a cache", errno).in("create a cache");
  }
  auto index = Presence::create(places.memfd_pages());
  if (!index) return index.error().in("create a cache");
  auto memory = SharedMapping::of(fd.get(), bytes, PROT_READ | PROT_WRITE);
  if (!memory) return memory.error().in("create a cache");
  return std::unique_ptr<LocalCache>(new LocalCache(std::move(places), std::move(fd),
                                                    std::move(memory).value(),
                                                    std::move(index).value(), budget, registrar));
}

inline Result<std::unique_ptr<LocalCache>> LocalCache::attach(CachePlaces places, UniqueFd pages,
                                                              UniqueFd index, CacheBudget& budget,
                                                              Registrar* registrar) {
  const std::uint64_t bytes = places.memfd_pages() << page_shift;
  struct stat status = {};
  if (::fstat(pages.get(), &status) != 0 || static_cast<std::uint64_t>(status.st_size) != bytes) {
    return Error(Errc::invalid_argument, "a cache of another size").in("take a cache over");
  }
  auto present = Presence::attach(std::move(index), places.memfd_pages());
  if (!present) return present.error().in("take a cache over");
  auto memory = SharedMapping::of(pages.get(), bytes, PROT_READ | PROT_WRITE);
  if (!memory) return memory.error().in("take a cache over");
  std::unique_ptr<LocalCache> cache(new LocalCache(std::move(places), std::move(pages),
                                                   std::move(memory).value(),
                                                   std::move(present).value(), budget, registrar));
  cache->charge(cache->present_.count());
  cache->drop_unfinished();
  return cache;
}

inline CacheState LocalCache::state(PageNumber source) noexcept {
  const auto found = places_.find(source);
  if (!found) return CacheState::absent;
  if (present_.get(found->at)) return CacheState::present;
  return filling_[found->at] ? CacheState::filling : CacheState::absent;
}

/// Charged here and not when the bytes arrive: the read may land at any time from now on.
inline void LocalCache::begin_fill(PageRange range) noexcept {
  const auto found = places_.find(range.first);
  if (!found || range.count > found->count) return;
  std::uint64_t begun = 0;
  for (std::uint64_t at = found->at; at < found->at + range.count; ++at) {
    if (filling_[at] || present_.get(at)) continue;
    filling_[at] = true;
    ++begun;
  }
  charge(begun);
}

inline void LocalCache::end_fill(PageRange range, bool ok) noexcept {
  const auto found = places_.find(range.first);
  if (!found || range.count > found->count) return;
  std::uint64_t failed = 0;
  for (std::uint64_t at = found->at; at < found->at + range.count; ++at) {
    if (!filling_[at]) continue;
    filling_[at] = false;
    if (ok) {
      present_.set(at);
    } else {
      if (!windows_.registers()) punch(at, 1);  // part of it may have landed
      ++failed;
    }
  }
  give_back(failed);
}

inline LocalMemory LocalCache::slot(PageRange range) noexcept {
  const auto found = places_.find(range.first);
  if (!found || range.count > found->count) return {};
  std::uint64_t more = 0;
  for (std::uint64_t at = found->at; at < found->at + range.count; ++at) {
    if (!filling_[at] && !present_.get(at)) ++more;
  }
  if (more != 0 && !budget_.fits(more << page_shift)) return {};
  const std::uint64_t offset = found->at << page_shift;
  return {memory_.data() + offset, windows_.key(offset, range.bytes())};
}

inline Result<UniqueFd> LocalCache::open_read_only() const noexcept {
  char path[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd_.get());
  UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  if (!fd) return Error(Errc::system_call_failed, path, errno).in("open a cache read-only");
  return fd;
}

/// Reads of the dead process may have left bytes in pages that never became present.
inline void LocalCache::drop_unfinished() noexcept {
  const std::uint64_t pages = places_.memfd_pages();
  off_t data = 0;
  while ((data = ::lseek(fd_.get(), data, SEEK_DATA)) >= 0) {
    const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
    if (hole < 0) return;
    const std::uint64_t end = static_cast<std::uint64_t>(hole) >> page_shift;
    for (std::uint64_t at = static_cast<std::uint64_t>(data) >> page_shift; at < end && at < pages;
         ++at) {
      if (!present_.get(at)) punch(at, 1);
    }
    data = hole;
  }
}

}  // namespace mitosis
