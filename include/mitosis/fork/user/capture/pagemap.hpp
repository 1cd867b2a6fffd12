// SPDX-License-Identifier: MIT
// Pagemap: which pages a process has of its own, in runs. World: user.
// PAGEMAP_SCAN (Linux 6.7) costs by runs; before it, /proc/PID/pagemap costs 8 bytes a page.
#pragma once

#include <sys/ioctl.h>
#include <unistd.h>

#include <mitosis/fork/user/capture/proc_text.hpp>
#include <mitosis/mem/page.hpp>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace mitosis::capture {

/// Consecutive pages that the process has, and that are not the kernel's zero page where that can
/// be told. `file`: pages of a file's page cache, not of the process alone.
struct PresentRun {
  PageRange pages;
  bool file = false;
};

namespace detail {

// Linux 6.7's <linux/fs.h>; Debian 12's headers are of 6.1.
struct PagemapScan {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  std::uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct PagemapRegion {
  std::uint64_t start, end, categories;
};
inline constexpr unsigned long pagemap_scan_request = _IOWR('f', 16, PagemapScan);
inline constexpr std::uint64_t page_is_file = 1 << 2;
inline constexpr std::uint64_t page_is_present = 1 << 3;
inline constexpr std::uint64_t page_is_swapped = 1 << 4;
inline constexpr std::uint64_t page_is_pfnzero = 1 << 5;

inline constexpr std::uint64_t entry_present = std::uint64_t{1} << 63;
inline constexpr std::uint64_t entry_swapped = std::uint64_t{1} << 62;
inline constexpr std::uint64_t entry_file = std::uint64_t{1} << 61;

/// Appends, and joins with the last run where it goes on.
inline void append(std::vector<PresentRun>& runs, PresentRun next) {
  if (!runs.empty() && runs.back().file == next.file &&
      runs.back().pages.end() == next.pages.first) {
    runs.back().pages.count += next.pages.count;
  } else {
    runs.push_back(next);
  }
}

}  // namespace detail

/// Asked page by page, a longer mapping (512 GiB) would take seconds and is refused.
inline constexpr std::uint64_t max_pages_by_entry = std::uint64_t{1} << 27;

/// How to ask; `automatic` takes the best there is.
enum class PagemapMethod { automatic, scan, entries };

/// An open /proc/PID/pagemap. One thread at a time.
class Pagemap {
 public:
  static Result<Pagemap> open(int process, PagemapMethod method = PagemapMethod::automatic) {
    Result<UniqueFd> fd = open_at(process, "pagemap");
    if (!fd) return fd.error();
    return Pagemap(std::move(*fd), method);
  }

  /// Appends what is present in [start, end), page-aligned bytes, by ascending address. A run may
  /// go on across mappings.
  Result<void> scan(std::uint64_t start, std::uint64_t end, std::vector<PresentRun>& to) {
    if (method_ != PagemapMethod::entries) {
      const int err = scan_runs(start, end, to);
      if (err == 0) return {};
      const bool unknown = err == ENOTTY || err == EINVAL;
      if (err == ESRCH) return Error(Errc::unsupported_process, "it has ended").in("find pages");
      if (method_ == PagemapMethod::scan || !unknown) {
        return Error(Errc::system_call_failed, "PAGEMAP_SCAN", err).in("find pages");
      }
      method_ = PagemapMethod::entries;
    }
    return read_entries(start, end, to);
  }
  /// True once a scan has shown that this kernel can only be asked page by page.
  [[nodiscard]] bool by_page() const noexcept { return method_ == PagemapMethod::entries; }

 private:
  Pagemap(UniqueFd fd, PagemapMethod method) noexcept : fd_(std::move(fd)), method_(method) {}

  /// 0 or an errno; what was found before an error stays.
  int scan_runs(std::uint64_t start, std::uint64_t end, std::vector<PresentRun>& to) {
    regions_.resize(1024);
    while (start < end) {
      detail::PagemapScan ask = {};
      ask.size = sizeof(ask);
      ask.start = start;
      ask.end = end;
      ask.vec = reinterpret_cast<std::uint64_t>(regions_.data());
      ask.vec_len = regions_.size();
      // Not the zero page (inverted, so that the bit set means "is not"), and here or swapped.
      ask.category_inverted = detail::page_is_pfnzero;
      ask.category_mask = detail::page_is_pfnzero;
      ask.category_anyof_mask = detail::page_is_present | detail::page_is_swapped;
      ask.return_mask = detail::page_is_file;
      const int n = ::ioctl(fd_.get(), detail::pagemap_scan_request, &ask);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno;
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); ++i) {
        const detail::PagemapRegion& r = regions_[i];
        detail::append(to, {{page_of(r.start), (r.end - r.start) >> page_shift},
                            (r.categories & detail::page_is_file) != 0});
      }
      // `walk_end` stays where the kernel's own buffer of 512 regions was full before, when the
      // walk behind it comes to its end (seen on Linux 6.18; fs/proc/task_mmu.c, do_pagemap_scan).
      const std::uint64_t told = n > 0 ? regions_[static_cast<std::size_t>(n) - 1].end : start;
      const std::uint64_t next = std::max<std::uint64_t>(ask.walk_end, told);
      if (next <= start) return EIO;  // a kernel that makes no progress must not hang us
      start = next;
    }
    return 0;
  }

  Result<void> read_entries(std::uint64_t start, std::uint64_t end, std::vector<PresentRun>& to) {
    if ((end - start) >> page_shift > max_pages_by_entry) {
      return Error(Errc::limit_exceeded, "a mapping of over 512 GiB takes Linux 6.7")
          .in("find pages");
    }
    constexpr std::size_t batch = 8192;
    std::vector<std::uint64_t> entries(batch);
    while (start < end) {
      const std::uint64_t wanted = std::min<std::uint64_t>(batch, (end - start) >> page_shift);
      const ssize_t n = ::pread(fd_.get(), entries.data(), wanted * sizeof(std::uint64_t),
                                static_cast<off_t>(start >> page_shift << 3));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error(Errc::system_call_failed, "pagemap", errno).in("find pages");
      if (n == 0) break;  // behind the last address
      const std::size_t got = static_cast<std::size_t>(n) / sizeof(std::uint64_t);
      for (std::size_t i = 0; i < got; ++i) {
        if ((entries[i] & (detail::entry_present | detail::entry_swapped)) == 0) continue;
        detail::append(to, {{page_of(start) + i, 1}, (entries[i] & detail::entry_file) != 0});
      }
      start += got << page_shift;
    }
    return {};
  }

  UniqueFd fd_;
  PagemapMethod method_;
  std::vector<detail::PagemapRegion> regions_;  // kept for the next call
};

}  // namespace mitosis::capture
