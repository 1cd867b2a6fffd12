// SPDX-License-Identifier: MIT
// Presence: which pages of a cache are there, in memory that outlives the process. World: user.
// A worker that takes a dead one's children over must know which of the memfd's pages are whole;
// those that were being filled are not, so only finished ones are written down here.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <mitosis/base/result.hpp>
#include <mitosis/base/unique_fd.hpp>
#include <mitosis/mem/shared_mapping.hpp>

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace mitosis {

/// A bit a page in a memfd. One writer at a time; readers in any process.
class Presence {
 public:
  /// All absent.
  static Result<Presence> create(std::uint64_t pages) noexcept {
    UniqueFd fd(::memfd_create("mitosis-cache-index", MFD_CLOEXEC));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes_for(pages))) != 0) {
      return Error(Errc::system_call_failed, "memfd of a cache's index", errno);
    }
    return attach(std::move(fd), pages);
  }
  /// What an earlier process wrote. invalid_argument: it is not of so many pages.
  static Result<Presence> attach(UniqueFd fd, std::uint64_t pages) noexcept {
    struct stat status = {};
    if (::fstat(fd.get(), &status) != 0 ||
        static_cast<std::uint64_t>(status.st_size) != bytes_for(pages)) {
      return Error(Errc::invalid_argument, "a cache's index of another size");
    }
    auto mapping = SharedMapping::of(fd.get(), bytes_for(pages), PROT_READ | PROT_WRITE);
    if (!mapping) return mapping.error();
    return Presence(std::move(fd), std::move(mapping).value(), pages);
  }

  [[nodiscard]] bool get(std::uint64_t page) const noexcept {
    return (word(page).load(std::memory_order_acquire) & bit(page)) != 0;
  }
  /// The page's bytes are in place: whoever sees the bit sees them too.
  void set(std::uint64_t page) noexcept {
    word(page).fetch_or(bit(page), std::memory_order_release);
  }
  /// How many pages are there. Linear in all of them.
  [[nodiscard]] std::uint64_t count() const noexcept {
    std::uint64_t n = 0;
    for (std::uint64_t p = 0; p < pages_; p += 64) {
      n += static_cast<std::uint64_t>(std::popcount(word(p).load(std::memory_order_acquire)));
    }
    return n;
  }
  [[nodiscard]] int fd() const noexcept { return fd_.get(); }

 private:
  using Word = std::atomic<std::uint64_t>;
  static_assert(Word::is_always_lock_free && sizeof(Word) == 8, "shared between processes");
  static constexpr std::uint64_t bytes_for(std::uint64_t pages) noexcept {
    return (pages / 64 + 1) * sizeof(Word);
  }
  Presence(UniqueFd fd, SharedMapping bits, std::uint64_t pages) noexcept
      : fd_(std::move(fd)), bits_(std::move(bits)), pages_(pages) {}
  [[nodiscard]] Word& word(std::uint64_t page) const noexcept {
    return reinterpret_cast<Word*>(bits_.data())[page / 64];
  }
  static constexpr std::uint64_t bit(std::uint64_t page) noexcept {
    return std::uint64_t{1} << page % 64;
  }

  UniqueFd fd_;
  SharedMapping bits_;
  std::uint64_t pages_;
};

}  // namespace mitosis
