// SPDX-License-Identifier: MIT
// RunWriter: a descriptor's runs, from what the shadow has and what its ancestors hold.
// World: user. One pass over both, ascending: the cost is in runs.
#pragma once

#include <mitosis/fork/user/capture/ancestry.hpp>
#include <mitosis/fork/user/capture/pagemap.hpp>
#include <mitosis/mem/descriptor/builder.hpp>

#include <cstddef>
#include <vector>

namespace mitosis::capture {

/// Writes the runs of one mapping after the other, by ascending address.
class RunWriter {
 public:
  RunWriter(DescriptorBuilder& builder, const std::vector<PresentRun>& present,
            Span<const RemoteRun> remote) noexcept
      : builder_(builder), present_(present), remote_(remote) {}

  /// Private memory: what is present is the shadow's, of the rest the ancestors have theirs.
  void add_private(PageRange vma) {
    begin(vma);
    PageNumber from = vma.first;
    for (; at_ < present_.size() && present_[at_].pages.first < vma.end(); ++at_) {
      const PageRange own = intersect(present_[at_].pages, vma);
      if (!own.empty()) {
        add_remote({from, own.first - from});
        add(own, own.first, 0);
        from = own.end();
      }
      if (present_[at_].pages.end() > vma.end()) break;  // goes on in the next mapping
    }
    add_remote({from, vma.end() - from});
  }

  /// All these pages are the shadow's, present or not.
  void add_whole(PageRange vma, PageRange pages) {
    begin(vma);
    add(pages, pages.first, 0);
  }

  /// True where the process has pages of its own in a private file mapping.
  [[nodiscard]] bool is_dirty(PageRange vma) {
    begin(vma);
    for (std::size_t i = at_; i < present_.size() && present_[i].pages.first < vma.end(); ++i) {
      if (!present_[i].file && !intersect(present_[i].pages, vma).empty()) return true;
    }
    return false;
  }

  /// Pages in all runs so far.
  [[nodiscard]] std::uint64_t pages() const noexcept { return pages_; }

 private:
  void begin(PageRange vma) {
    first_of_vma_ = true;
    while (at_ < present_.size() && present_[at_].pages.end() <= vma.first) ++at_;
  }
  void add(PageRange pages, PageNumber source, std::uint16_t owner) {
    if (pages.empty()) return;
    builder_.add_run(pages, source, owner, !first_of_vma_);
    first_of_vma_ = false;
    pages_ += pages.count;
  }
  void add_remote(PageRange gap) {
    if (gap.empty()) return;
    while (remote_at_ < remote_.size() && remote_[remote_at_].pages.end() <= gap.first) {
      ++remote_at_;
    }
    for (std::size_t i = remote_at_; i < remote_.size() && remote_[i].pages.first < gap.end();
         ++i) {
      const PageRange part = intersect(remote_[i].pages, gap);
      add(part, remote_[i].source + (part.first - remote_[i].pages.first), remote_[i].owner);
    }
  }

  DescriptorBuilder& builder_;
  const std::vector<PresentRun>& present_;
  Span<const RemoteRun> remote_;
  std::size_t at_ = 0, remote_at_ = 0;
  bool first_of_vma_ = true;
  std::uint64_t pages_ = 0;
};

}  // namespace mitosis::capture
