// SPDX-License-Identifier: MIT
// Mutexes that a captured thread holds and that know it by its number: a child's thread has
// another, could not unlock them, and whoever wanted one next would wait for ever. World: user.
// Nothing lists them, so they are looked for: glibc's recursive and error-checking ones, by all
// five words that a held one must have (sysdeps/nptl/bits/struct_mutex.h). Its robust and
// priority-inheriting ones, which the kernel knows too, are not found, nor those of other C
// libraries.
#pragma once

#include <sys/mman.h>

#include <mitosis/fork/user/capture/pagemap.hpp>
#include <mitosis/fork/user/capture/proc_maps.hpp>
#include <mitosis/mem/descriptor/attribute_records.hpp>
#include <mitosis/mem/source.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::capture {

namespace detail {

/// The head of a pthread_mutex_t.
struct MutexWords {
  std::uint32_t lock, count, owner, users, kind;
};
inline constexpr std::uint32_t mutex_recursive = 1, mutex_error_checking = 2;
/// Of the kind: shared between processes, and what glibc has learned of lock elision.
inline constexpr std::uint32_t mutex_kind_flags = 128 | 256 | 512;

/// Whether these words, but for the owner's, are those of a held mutex.
constexpr bool is_held(const MutexWords& m, std::size_t threads) noexcept {
  const std::uint32_t kind = m.kind & ~mutex_kind_flags;
  if (m.lock != 1 && m.lock != 2) return false;  // free is 0; 2: others wait for it
  if (m.users == 0 || m.users > threads) return false;
  return kind == mutex_recursive ? m.count != 0 && m.count < 1u << 20
                                 : kind == mutex_error_checking && m.count == 0;
}

}  // namespace detail

/// Finds them in the pages that `source` has. Memory mapped at once by the hundred megabytes, as
/// managed heaps and data are, has none and is left out; what is left takes some 5 ms for 16 MiB.
class HeldLocks {
 public:
  static constexpr std::uint64_t longest_mapping = std::uint64_t{64} << 20;

  /// `numbers[i]` is thread i's. Both must outlive it.
  HeldLocks(PageSource& source, const std::vector<std::uint32_t>& numbers)
      : source_(source), numbers_(numbers) {
    for (const std::uint32_t number : numbers) {
      low_ = std::min(low_, number);
      high_ = std::max(high_, number);
    }
  }

  /// Looks through one mapping, of which `present` are the process's own pages, ascending.
  void look(const Mapping& m, const std::vector<PresentRun>& present) {
    if ((m.prot & PROT_WRITE) == 0 || m.shared) return;
    if (m.end - m.start > longest_mapping && m.path != "[heap]" && m.path != "[stack]") return;
    const PageRange all = {page_of(m.start), (m.end - m.start) >> page_shift};
    auto run = std::lower_bound(
        present.begin(), present.end(), all.first,
        [](const PresentRun& r, PageNumber first) { return r.pages.end() <= first; });
    for (; run != present.end() && run->pages.first < all.end(); ++run) {
      const PageRange part = intersect(run->pages, all);
      for (PageNumber at = part.first; at < part.end(); at = at + pages_at_once) {
        const std::uint64_t left = part.end() - at;
        look(address(at), std::min<std::uint64_t>(left, pages_at_once) << page_shift);
      }
    }
  }

  /// What was found, ascending; no more than a descriptor may have.
  [[nodiscard]] std::vector<descriptor::HeldLockRecord> take() {
    std::sort(found_.begin(), found_.end(),
              [](const auto& a, const auto& b) { return a.address < b.address; });
    if (found_.size() > descriptor::max_held_locks) found_.resize(descriptor::max_held_locks);
    return std::move(found_);
  }

 private:
  static constexpr std::uint64_t pages_at_once = 64;

  /// A mutex is aligned to 8 bytes, and of one that begins in the last 16 bytes of what is read at
  /// once the rest comes with the next read: so these are looked at once more.
  void look(std::uint64_t start, std::uint64_t bytes) {
    const std::uint64_t before = start == last_end_ ? overlap : 0;
    last_end_ = 0;
    bytes_.resize(before + bytes);
    std::memcpy(bytes_.data(), tail_, before);
    if (source_.read(start, MutableBytes(bytes_.data() + before, bytes)) != Errc::ok) return;
    last_end_ = start + bytes;
    std::memcpy(tail_, bytes_.data() + bytes_.size() - overlap, overlap);
    for (std::size_t at = 0; at + sizeof(detail::MutexWords) <= bytes_.size(); at += 8) {
      std::uint32_t owner;
      std::memcpy(&owner, bytes_.data() + at + offsetof(detail::MutexWords, owner), sizeof owner);
      if (owner < low_ || owner > high_) continue;
      consider(at, start - before);
    }
  }
  void consider(std::size_t at, std::uint64_t start) {
    detail::MutexWords words;
    std::memcpy(&words, bytes_.data() + at, sizeof words);
    if (!detail::is_held(words, numbers_.size())) return;
    const auto thread = std::find(numbers_.begin(), numbers_.end(), words.owner);
    if (thread == numbers_.end()) return;
    found_.push_back({start + at + offsetof(detail::MutexWords, owner),
                      static_cast<std::uint32_t>(thread - numbers_.begin()), 0});
  }

  static constexpr std::size_t overlap = 16;

  PageSource& source_;
  const std::vector<std::uint32_t>& numbers_;
  std::uint32_t low_ = ~0u, high_ = 0;
  std::vector<std::uint8_t> bytes_;
  std::uint8_t tail_[overlap] = {};
  std::uint64_t last_end_ = 0;
  std::vector<descriptor::HeldLockRecord> found_;
};

}  // namespace mitosis::capture
