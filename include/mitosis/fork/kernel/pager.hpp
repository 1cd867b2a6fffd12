// SPDX-License-Identifier: MIT
// Pager: serves the faults of one address space, in the thread that faults. World: kernel.
#pragma once

#include <mitosis/fork/child.hpp>
#include <mitosis/fork/kernel/platform.hpp>
#include <mitosis/fork/kernel/restorable.hpp>

namespace mitosis::kernel {

/// Everything under the child's lock. Nothing is out between two calls: reads end within `post`.
template <LegalPolicy P>
class Pager {
 public:
  enum class Served : std::uint8_t { in_place, no_memory, unavailable };

  explicit Pager(mitosis_child* child) noexcept
      : parts_(child), child_(KernelPlatform(parts_), 0) {}

  [[nodiscard]] Errc load(Bytes descriptor) noexcept {
    const Result<DescriptorView> view = DescriptorView::parse(descriptor);
    if (!view) return view.code();
    const Errc loaded = child_.load(*view);
    return loaded == Errc::ok ? take_over(*view) : loaded;
  }
  [[nodiscard]] Errc fork_into(Pager& copy) noexcept {
    copy.parts_.memory.know(parts_.memory.known());
    return child_.fork_into(copy.child_);
  }

  Served fault(PageNumber page) noexcept {
    parts_.memory.begin(page);
    child_.on_fault(page);
    drain();
    if (parts_.memory.served()) return Served::in_place;
    return parts_.memory.failed() ? Served::unavailable : Served::no_memory;
  }
  /// With Eager. What a landing was missing for is tried again, some times.
  Served bring_all() noexcept {
    constexpr unsigned max_rounds = 100;
    if constexpr (P::eager) {
      parts_.memory.begin(no_page);
      child_.start_eager();
      for (unsigned round = 0; round < max_rounds; ++round) {
        drain();
        if (child_.all_present()) return Served::in_place;
        if (child_.eager_error() != Errc::ok) {
          return child_.eager_error() == Errc::out_of_memory ? Served::no_memory
                                                             : Served::unavailable;
        }
        child_.on_time(child_.next_deadline());
      }
      return Served::no_memory;
    } else {
      return Served::in_place;
    }
  }
  void add_counts(mitosis_brought& into) const noexcept {
    const ChildStats& s = child_.stats();
    into.zeros += s.zeros;
    into.fetched += s.fetched;
    into.cached += s.cached;
    into.dropped += s.dropped;
    into.reads += s.reads;
    into.bytes += s.bytes;
  }
  void add_profile(mitosis_profile& into) const noexcept {
    if constexpr (P::profiled) {
      static_assert(Histogram::buckets == MITOSIS_BUCKETS);
      static_assert(static_cast<unsigned>(ProfileStep::last) + 1 == MITOSIS_STEPS);
      for (unsigned i = 0; i < MITOSIS_STEPS; ++i) {
        const Histogram& from = child_.profile().of(static_cast<ProfileStep>(i));
        for (unsigned b = 0; b < MITOSIS_BUCKETS; ++b) into.steps[i].counts[b] += from.counts[b];
        into.steps[i].count += from.count;
        into.steps[i].total_ns += from.total_ns;
      }
    }
  }
  void removed(PageRange range) noexcept { child_.on_removed(range); }
  [[nodiscard]] PageRange missing(PageNumber from) const noexcept {
    const auto run = child_.engine().map().next_at_or_after(from);
    if (!run) return {};
    const PageNumber first = run->range.first < from ? from : run->range.first;
    return {first, run->range.end() - first};
  }
  [[nodiscard]] mitosis_u64 held(mitosis_held* into, mitosis_u64 room) const noexcept {
    mitosis_u64 count = 0;
    if (child_.engine().broken() != Errc::ok) return MITOSIS_NOT_KNOWN;
    child_.engine().snapshot(
        [&](PageRange pages, std::uint16_t owner, PageNumber source, bool /*cached*/) {
          if (count < room) {
            into[count] = {static_cast<mitosis_u64>(pages.first), pages.count,
                           static_cast<mitosis_u64>(source), owner, 0};
          }
          ++count;
        });
    return count;
  }

 private:
  static constexpr PageNumber no_page{~std::uint64_t{0}};

  /// What is in no run and not zero either: the vdso, and files' pages that the parent had never
  /// written.
  Errc take_over(const DescriptorView& view) noexcept {
    for (const descriptor::VmaRecord vma : view.vmas()) {
      const PageRange all{page_of(vma.start), (vma.end - vma.start) >> page_shift};
      if (vma.kind == MITOSIS_VMA_VDSO) {
        parts_.memory.know({all.first, view.vdso().sub(0, vma.end - vma.start)});
      }
      if (!is_fetched(vma) || (vma.flags & descriptor::vma_dirty) != 0) continue;
      const std::uint64_t behind =
          vma.file_size > vma.file_offset ? vma.file_size - vma.file_offset : 0;
      const std::uint64_t in_file = (behind + page_size - 1) >> page_shift;
      const Errc carried = child_.carry({all.first, in_file < all.count ? in_file : all.count});
      if (carried != Errc::ok) return carried;
    }
    return Errc::ok;
  }

  void drain() noexcept {
    ReadCompletion done[16];
    for (;;) {
      const std::size_t count = parts_.fabric.poll(done, Time{});
      if (count == 0) return;
      for (std::size_t i = 0; i < count; ++i) child_.on_completion(done[i].cookie, done[i].status);
    }
  }

  ChildParts parts_;
  Child<P, KernelPlatform> child_;
};

}  // namespace mitosis::kernel
