// SPDX-License-Identifier: MIT
// Memory: a child's memory in the kernel, as the fault that is served sees it. World: kernel.
// Pages are given away, not copied: a landing's pages become the child's.
#pragma once

#include <mitosis/fork/kernel/boundary.h>
#include <mitosis/fork/platform.hpp>

namespace mitosis::kernel {

/// Installs within the faulting mapping; elsewhere nothing is (a page that was read ahead for
/// another mapping is remote again). Used under the child's lock, which its notifier takes too, so
/// that nothing is removed between the engine's look and the page's being in place.
class Memory {
 public:
  explicit Memory(mitosis_child* child) noexcept : child_(child) {}

  /// A fault at `page` is served from now on; the calls below tell of it.
  void begin(PageNumber page) noexcept {
    page_ = page;
    outcome_ = Outcome::open;
  }
  [[nodiscard]] bool served() const noexcept { return outcome_ == Outcome::in_place; }
  [[nodiscard]] bool failed() const noexcept { return outcome_ == Outcome::failed; }

  /// Pages whose bytes the descriptor has: they count as zero to the engine. Not owned.
  struct Known {
    PageNumber first{};
    Bytes bytes;
    [[nodiscard]] Bytes of(PageNumber page) const noexcept {
      if (page < first) return {};
      return bytes.sub((page - first) << page_shift, page_size);
    }
  };
  void know(const Known& known) noexcept { known_ = known; }
  [[nodiscard]] const Known& known() const noexcept { return known_; }

  InstallResult copy_in(PageRange range, const std::uint8_t* bytes) noexcept {
    // The shim takes references of its own; the landing keeps what it does not.
    void* memory = const_cast<std::uint8_t*>(bytes);  // NOLINT: it is the landing that we own
    return settle(range, mitosis_shim_insert(child_, static_cast<std::uint64_t>(range.first),
                                             range.count, memory));
  }
  /// Zeros, or what is known of it.
  InstallResult zero_in(PageRange range) noexcept {
    auto* zeros = static_cast<std::uint8_t*>(mitosis_shim_allocate_pages(range.count));
    if (zeros == nullptr) return {Install::failed, 0};
    for (std::uint64_t i = 0; i < range.count; ++i) {
      const Bytes known = known_.of(range.first + i);
      if (!known.empty()) __builtin_memcpy(zeros + (i << page_shift), known.data(), known.size());
    }
    const InstallResult result = copy_in(range, zeros);
    mitosis_shim_free_pages(zeros, range.count);
    return result;
  }
  /// Shared until written: the child's mapping is private.
  InstallResult map_cached(PageRange range, PageNumber key) noexcept {
    return settle(range, mitosis_shim_insert_cached(child_, static_cast<mitosis_u64>(range.first),
                                                    range.count, static_cast<mitosis_u64>(key)));
  }
  /// Without memory it is tried again: the kernel sees to it that there will be some.
  void fail(PageNumber page, Errc why) noexcept {
    if (page == page_ && why != Errc::out_of_memory) outcome_ = Outcome::failed;
  }
  /// Who waits holds the child's lock, and looks for itself.
  void wake(PageRange) noexcept {}

 private:
  InstallResult settle(PageRange range, std::uint64_t done) noexcept {
    if (done == 0) return {Install::failed, 0};
    if (page_ >= range.first && page_ < range.first + done) outcome_ = Outcome::in_place;
    // The rest lies in another mapping by now: it is still missing, not there.
    return {done == range.count ? Install::done : Install::split, done};
  }

  enum class Outcome : std::uint8_t { open, in_place, failed };

  mitosis_child* child_;
  PageNumber page_{};
  Known known_;
  Outcome outcome_ = Outcome::open;
};
static_assert(ChildMemory<Memory>);

}  // namespace mitosis::kernel
