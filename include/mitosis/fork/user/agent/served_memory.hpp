// SPDX-License-Identifier: MIT
// Served memory: what of a parent other machines may read, and from where. World: user.
#pragma once

#include <sys/random.h>

#include <mitosis/base/describe.hpp>
#include <mitosis/fork/user/agent/parent.hpp>
#include <mitosis/fork/user/restore/layout.hpp>
#include <mitosis/mem/composed_source.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/image_source.hpp>
#include <mitosis/mem/shadow_source.hpp>
#include <mitosis/mem/target_table.hpp>

#include <cerrno>
#include <memory>
#include <vector>

namespace mitosis::agent {

/// A copied parent's image has the pages of mappings of files up to this long, as programs and
/// their libraries are. Longer ones, of data, would fill the machine's memory with what lies on its
/// disk.
inline constexpr std::uint64_t longest_copied_file = std::uint64_t{64} << 20;

/// Whether a machine that lacks the file of a VMA can have its pages from here.
inline bool serves_file(const descriptor::VmaRecord& vma, bool copy) noexcept {
  return !copy || vma.end - vma.start <= longest_copied_file;
}

/// The pages that this machine holds of a descriptor. With those of its files: a machine that lacks
/// a file reads them from the shadow's mapping, or from the image (`copy`).
inline PageRanges served_ranges(const DescriptorView& view, bool copy) {
  std::vector<PageRange> ranges;
  for (const descriptor::RunRecord run : view.runs()) {
    if (run.owner == 0) ranges.push_back({PageNumber{run.source}, run.count});
  }
  for (const descriptor::VmaRecord vma : view.vmas()) {
    if (!descriptor::is_file(vma.kind) || !serves_file(vma, copy)) continue;
    if (copy && restore::has_own_pages(vma)) continue;  // its runs are all there is
    const descriptor::RunRecord run = restore::carried_run(vma);
    ranges.push_back({PageNumber{run.page}, run.count});
  }
  return PageRanges(std::move(ranges));
}

/// The pages of its shared objects, which were copied while it waited.
inline PageRanges shared_ranges(const DescriptorView& view) {
  std::vector<PageRange> ranges;
  for (const descriptor::SharedRunRecord run : view.shared_runs()) {
    ranges.push_back({PageNumber{run.source}, run.count});
  }
  return PageRanges(std::move(ranges));
}

namespace detail {
/// Into the parent's room; where that has none, into a file of its own.
inline Result<void> copy_pages(Parent& parent, PageSource& source, const PageRanges& ranges) {
  const std::uint64_t bytes = ranges.pages() << page_shift;
  auto extent =
      parent.room != nullptr && bytes > 0 ? parent.room->take(bytes) : Error(Errc::limit_exceeded);
  if (!extent) {
    auto image = build_image(source, ranges, parent.for_device);
    if (!image) return image.error();
    parent.image_fd = std::move(image).value();
    return {};
  }
  auto to = SharedMapping::of((*extent)->file, bytes, PROT_READ | PROT_WRITE, (*extent)->offset);
  if (!to) return to.error().in("copy the pages");
  if (auto r = copy_image(source, ranges, to->data()); !r) return r;
  parent.image_fd = UniqueFd(::fcntl((*extent)->file, F_DUPFD_CLOEXEC, 0));
  if (!parent.image_fd) return Error(Errc::limit_exceeded, "open files", errno);
  parent.extent = std::move(extent).value();
  return {};
}

/// Adds the shared objects' pages to what is served.
inline Result<void> compose(const DescriptorView& view, int shared_fd,
                            std::shared_ptr<PageSource>& source, PageRanges& ranges) {
  PageRanges shared = shared_ranges(view);
  if (shared.pages() == 0) return {};
  std::vector<PageRange> all = ranges.ranges();
  all.insert(all.end(), shared.ranges().begin(), shared.ranges().end());
  auto image = ImageSource::map(shared_fd, std::move(shared));
  if (!image) return image.error();
  source =
      std::make_shared<ComposedSource>(std::move(source), descriptor::shared_source_start, *image);
  ranges = PageRanges(std::move(all));
  return {};
}
}  // namespace detail

/// A target name for a descriptor that is still to be written. Number 0 is never drawn.
inline Result<TargetName> draw_target(const TargetTable& targets) noexcept {
  TargetName name;
  do {
    if (::getrandom(&name.number, sizeof name.number, 0) != ssize_t{sizeof name.number} ||
        ::getrandom(&name.key, sizeof name.key, 0) != ssize_t{sizeof name.key}) {
      return Error(Errc::system_call_failed, "getrandom", errno).in("draw a target");
    }
  } while (name.number == 0 || targets.usage(name.number).has_value());
  return name;
}

/// Opens the parent's pages to whoever has `name`. With a copy the image is made first (or taken
/// from `parent.image_fd`, of an earlier worker), at most `budget_bytes` long. `parent.shared_fd`
/// has what was copied of its shared memory. Returns how many pages children may fetch.
inline Result<std::uint64_t> serve(TargetTable& targets, Parent& parent,
                                   const std::vector<std::uint8_t>& descriptor, TargetName name,
                                   std::uint64_t budget_bytes) {
  auto view = DescriptorView::parse(Bytes(descriptor));
  if (!view) return view.error();
  PageRanges ranges = served_ranges(*view, parent.copy);
  std::uint64_t pages = 0;
  for (const descriptor::RunRecord run : view->runs()) pages += run.count;
  std::shared_ptr<PageSource> source;
  if (!parent.image_fd) {
    auto shadow = ShadowSource::open(parent.shadow_pid, parent.shadow_pidfd.get());
    if (!shadow) return shadow.error();
    source = *shadow;
  }
  if (parent.copy) {
    if (!parent.image_fd) {
      if (ranges.pages() << page_shift > budget_bytes) {
        return Error(Errc::budget_exceeded, "the copy of a parent").in("copy the pages");
      }
      if (auto r = detail::copy_pages(parent, *source, ranges); !r) return r.error();
    }
    parent.image_pages = parent.extent ? parent.extent->bytes >> page_shift : ranges.pages();
    auto image = parent.extent ? ImageSource::map(parent.extent, ranges)
                               : ImageSource::map(parent.image_fd.get(), ranges);
    if (!image) return image.error();
    source = *image;
  }
  if (auto r = detail::compose(*view, parent.shared_fd.get(), source, ranges); !r) {
    return r.error();
  }
  if (auto r = targets.restore(name, std::move(source), std::move(ranges)); !r) return r.error();
  return pages;
}

}  // namespace mitosis::agent
