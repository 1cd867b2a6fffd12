// SPDX-License-Identifier: MIT
// Engine: decides what a child's faults need. World: any (freestanding).
// It does no I/O: it keeps the state of each page and answers with plans, so that the same code is
// stepped by a test, runs a thousand machines in virtual time, and serves real faults in user
// space and in a kernel. fork/child.hpp is the driver that carries plans out.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/fork/engine/op_table.hpp>
#include <mitosis/fork/engine/origin.hpp>
#include <mitosis/fork/engine/plan.hpp>
#include <mitosis/fork/engine/streams.hpp>
#include <mitosis/fork/engine/verdict.hpp>
#include <mitosis/fork/working_set.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/mem/page_cache_concept.hpp>
#include <mitosis/mem/page_map.hpp>
#include <mitosis/policy/policy.hpp>

#include <concepts>
#include <cstdint>
#include <optional>

namespace mitosis {

/// The pages of one child. In its map a page is
///   remote     with its key (its page number in the descriptor); an owner has it
///   in_flight  the same, and the read `op - 1` is bringing it
///   cached     the same, and something is mapped there: the machine's cache's page; or what was
///              there before the bytes came, be it the child's own page or one that must fail
///   (nothing)  zero, or the child's own: installing zeros is right, or finds it there
/// Work per call is bounded by the plan's size; the costs of load, fork_into and on_moved grow with
/// runs. When the map cannot grow, the engine is *broken*: every later fault is told to fail,
/// because a page that could not be marked removed must not be fetched again. One thread.
template <LegalPolicy P, Allocator A>
class Engine {
 public:
  explicit Engine(A allocator) noexcept : map_(allocator) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // -- the life of a child ------------------------------------------------------------------

  /// Takes a descriptor's pages over; its bytes must outlive the engine. out_of_memory.
  [[nodiscard]] Errc load(const DescriptorView& view) noexcept;
  /// Fetches also the pages of `range` that are in no run (a file that this machine lacks).
  [[nodiscard]] Errc carry(PageRange range) noexcept;
  /// Makes `copy` the engine of a process that the child has just forked. What is in flight here
  /// is remote there. On failure `copy` is broken.
  [[nodiscard]] Errc fork_into(Engine& copy) const noexcept;

  // -- faults -------------------------------------------------------------------------------

  /// What to do about a fault at `page`. The plan's reads are out from now on: each must come
  /// back through `finish`.
  template <PageCache C>
  void on_fault(PageNumber page, C& cache, Plan& plan) noexcept;
  /// After on_fault, until it plans no reads: further windows for a sequential reader, each within
  /// the policy's N.
  template <PageCache C>
  void read_ahead(C& cache, Plan& plan) noexcept;
  /// The next step of an eager start: reads, or a range to map, or nothing for now.
  template <PageCache C>
  void next_eager(C& cache, Plan& plan) noexcept;
  /// Every page has been brought; only with Eager.
  [[nodiscard]] bool all_present() const noexcept {
    return eager_at_ >= end_ && !skipped() && ops_.used() == 0;
  }
  /// next_eager had to leave out pages that another child is fetching. `look_again` after they
  /// came.
  [[nodiscard]] bool skipped() const noexcept { return skipped_from_ < end_; }
  void look_again() noexcept;
  /// next_eager shall begin at `page` again: what it planned there could not be carried out.
  void look_again_from(PageNumber page) noexcept {
    if (page < eager_at_) eager_at_ = page;
  }
  /// next_eager shall ask for these pages one by one.
  void go_carefully(PageRange pages) noexcept {
    if (pages.end() > careful_until_) careful_until_ = pages.end();
  }

  /// The next step of bringing what other children fetched first: reads, or a range to map.
  /// `plan.more`: ask again. Else again after a read has ended, until `pages` is empty.
  template <PageCache C>
  void next_foreseen(Foreseen& pages, C& cache, Plan& plan) noexcept;

  // -- reads that come back -----------------------------------------------------------------

  /// What follows from the end of a read, one-sided or through the fallback.
  [[nodiscard]] Verdict on_read(OpId id, Errc status) noexcept;
  /// The first pages from `from` on that read `id` still has to install: what was removed, unmapped
  /// or moved since it was posted is left out.
  [[nodiscard]] std::optional<PageRange> next_install(OpId id, PageNumber from) const noexcept;
  /// The pages are in place: mapped (see `cached` above), or the child's own.
  void on_mapped(PageRange range, PageNumber key) noexcept {
    keep(map_.assign(range, {PageState::cached, origin_.locate(key).owner, 0, key}));
  }
  void on_installed(PageRange range) noexcept { keep(map_.erase(range)); }
  /// The page is told to fail. It stays known as an ancestor's, for a descriptor of this child.
  void on_failed(PageNumber page) noexcept {
    if (const Place place = at(page); place.state) on_mapped({page, 1}, place.key);
  }
  /// What the read has not brought is remote again; true where there was such a page. The slot
  /// stays taken: for a read that is given up while its memory may still be written.
  bool abandon(OpId id) noexcept;
  /// `abandon`, and the slot is free again.
  bool finish(OpId id) noexcept {
    const bool left = abandon(id);
    ops_.release(id);
    return left;
  }

  // -- what the child does to its memory ----------------------------------------------------

  /// madvise(MADV_DONTNEED): zero from now on, never fetched again.
  void on_removed(PageRange range) noexcept { keep(map_.erase(range)); }
  void on_unmapped(PageRange range) noexcept { keep(map_.erase(range)); }
  /// mremap: the pages keep their content; reads in flight for them do not count any more.
  void on_moved(PageRange from, PageNumber to) noexcept;

  // -- asking -------------------------------------------------------------------------------

  /// Calls fn(PageRange, owner, source, cached) for all pages that an ancestor holds, for a
  /// descriptor of this child: `source` are that owner's pages; `cached` ones are mapped here too,
  /// and where the child has written to one its own bytes count. May be called at any time.
  template <class Fn>
  requires std::invocable<Fn, PageRange, std::uint16_t, PageNumber, bool>
  void snapshot(Fn&& fn) const noexcept;

  [[nodiscard]] const Op& op(OpId id) const noexcept { return ops_[id]; }
  [[nodiscard]] const OpTable& ops() const noexcept { return ops_; }
  [[nodiscard]] const auto& map() const noexcept { return map_; }
  [[nodiscard]] Errc broken() const noexcept { return broken_; }

  /// Cached pages that one fault maps at most.
  static constexpr std::uint64_t map_batch = P::eager || P::prefetch > 64 ? 512 : 64;

 private:
  /// A page's state and how far it goes on like that.
  struct Place {
    std::optional<PageState> state;  ///< nothing: zero
    PageNumber key{};
    PageNumber end{};
  };
  [[nodiscard]] Place at(PageNumber page) const noexcept;
  /// `page` and what follows it in the same VMA of the descriptor; `place` is the page's.
  [[nodiscard]] PageNumber vma_end(PageNumber page, const Place& place) const noexcept {
    return page + origin_.left_in_vma(place.key);
  }

  template <PageCache C>
  void demand(PageNumber page, const Place& place, C& cache, Plan& plan) noexcept;
  template <PageCache C>
  void map_from_cache(PageNumber page, const Place& place, C& cache, Plan& plan) noexcept;
  template <PageCache C>
  PageNumber window(PageNumber from, PageNumber end, C& cache, Plan& plan) noexcept;
  template <PageCache C>
  void extend(Stream& stream, PageNumber end, C& cache, Plan& plan) noexcept;
  template <PageCache C>
  std::uint64_t post(OpKind kind, PageRange pages, PageNumber key, C& cache, Plan& plan) noexcept;
  template <PageCache C>
  static std::uint64_t run_in_cache(C& cache, PageNumber key, std::uint64_t limit,
                                    CacheState state) noexcept;

  /// A change that the map refused must not be forgotten.
  void keep(Errc result) noexcept {
    if (result != Errc::ok) broken_ = result;
  }

  PageMap<A> map_;
  Origin origin_;
  OpTable ops_;
  [[no_unique_address]] Streams<P::prefetch> streams_;
  Stream* ahead_ = nullptr;     ///< the stream that read_ahead goes on with
  PageNumber ahead_end_{};      ///< where its VMA ends
  PageNumber end_{};            ///< behind the last page of the descriptor
  PageNumber eager_at_{};       ///< all before it are fetched or in flight
  PageNumber careful_until_{};  ///< an eager read failed: page by page up to here
  PageNumber skipped_from_{~std::uint64_t{0}};
  Errc broken_ = Errc::ok;
};

}  // namespace mitosis

#include <mitosis/fork/engine/changes.hpp>
#include <mitosis/fork/engine/completion.hpp>
#include <mitosis/fork/engine/eager.hpp>
#include <mitosis/fork/engine/fault.hpp>
#include <mitosis/fork/engine/foreseen.hpp>
