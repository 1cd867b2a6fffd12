// SPDX-License-Identifier: MIT
// Child: serves the faults of one child. World: any (freestanding).
// The driver of the engine: it carries plans out through a Platform, lives by the rules of
// memory that changes under a fault, and sees to it that every fault ends within its deadline.
#pragma once

#include <mitosis/fork/cache_waiters.hpp>
#include <mitosis/fork/child/cookie.hpp>
#include <mitosis/fork/child/deadlines.hpp>
#include <mitosis/fork/child/flight.hpp>
#include <mitosis/fork/child/stats.hpp>
#include <mitosis/fork/child/wait_list.hpp>
#include <mitosis/fork/engine.hpp>
#include <mitosis/fork/platform.hpp>
#include <mitosis/fork/profile.hpp>
#include <mitosis/fork/working_set.hpp>

#include <cstdint>
#include <utility>

namespace mitosis {

/// One child, from its page map to its last page. The platform calls it with what happens, and
/// calls `on_time` when `next_deadline` has come. A fault's way through it:
///
///   on_fault --> engine: Plan --> post ------------> on_completion --> engine: Verdict
///                  |  zero, cached                     |          \--> fallback, retry, fail
///                  v                                   v
///                ChildMemory <----------------------- land
///
/// All calls come from the one thread that owns the platform's parts. It must not be destroyed
/// before `idle()`: until then reads may write into memory that it holds.
template <LegalPolicy P, Platform Pf>
class Child : private CacheWaiter {
 public:
  /// `slot` is what this child's cookies begin with (Cookie::unpack(c).child).
  Child(Pf platform, std::uint32_t slot, const Deadlines& deadlines = {}) noexcept
      : CacheWaiter(&filled),
        platform_(std::move(platform)),
        engine_(platform_.allocator()),
        deadlines_(deadlines),
        slot_(slot) {}
  ~Child() { platform_.waiters().leave(*this); }

  // -- beginning and end ----------------------------------------------------------------------

  /// Takes a descriptor's pages over; its bytes must outlive the child.
  [[nodiscard]] Errc load(const DescriptorView& view) noexcept { return engine_.load(view); }
  /// Fetches also the pages of `range` that are in no run. After load, before the first fault.
  [[nodiscard]] Errc carry(PageRange range) noexcept { return engine_.carry(range); }
  /// With Eager: begins to bring every page. Then wait for `all_present` or `eager_error`.
  void start_eager() noexcept { pump_eager(); }
  [[nodiscard]] bool all_present() const noexcept { return engine_.all_present(); }
  /// Why an eager start cannot be completed; ok while it can.
  [[nodiscard]] Errc eager_error() const noexcept { return eager_error_; }
  /// With Prefetch, once its memory is mapped: begins to bring what other children of its parent
  /// fetched first, and until `record_until` tells `known` what it fetches itself. `known` must
  /// outlive the child.
  void foresee(WorkingSet& known, Time record_until) noexcept;
  /// The process is gone: nothing is installed any more, reads that are out are waited for.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept { return closed_; }
  /// Nothing is out: it may be destroyed.
  [[nodiscard]] bool idle() const noexcept { return engine_.ops().used() == 0; }

  // -- what happens -----------------------------------------------------------------------------

  void on_fault(PageNumber page) noexcept;
  void on_removed(PageRange range) noexcept;
  void on_unmapped(PageRange range) noexcept;
  void on_moved(PageRange from, PageNumber to) noexcept;
  /// The child has forked; `copy` was made for the new process and serves it from now on.
  [[nodiscard]] Errc fork_into(Child& copy) noexcept;
  /// A read with this child's cookie has ended, on the fabric or through the fallback.
  void on_completion(std::uint64_t cookie, Errc status) noexcept;
  /// Time has passed: gives up what is overdue, retries what was put off.
  void on_time(Time now) noexcept;
  /// When on_time must be called at the latest; never: no need.
  [[nodiscard]] Time next_deadline() const noexcept;

  // -- asking -----------------------------------------------------------------------------------

  [[nodiscard]] const ChildStats& stats() const noexcept { return stats_; }
  [[nodiscard]] const Recorder<typename P::profile>& profile() const noexcept { return profile_; }
  [[nodiscard]] const auto& engine() const noexcept { return engine_; }
  [[nodiscard]] Pf& platform() noexcept { return platform_; }
  [[nodiscard]] std::uint32_t slot() const noexcept { return slot_; }

 private:
  /// How far an installation came.
  enum class Landing : std::uint8_t { done, changing, gone, failed };

  // fault.hpp: from a fault to its reads
  void serve(PageNumber page, Time deadline) noexcept;
  void carry_out(const Plan& plan, PageNumber page, Time deadline) noexcept;
  void zero(PageNumber page, Time deadline) noexcept;
  void post(const Plan& plan, Time deadline) noexcept;
  bool prepare(const Read& read, Time deadline, ReadRequest& request) noexcept;
  void pump_eager() noexcept;

  // foreseen.hpp: what other children fetched first
  void go_on_foreseeing(const Plan& plan) noexcept;
  void record(const Plan& plan) noexcept;
  void pump_foreseen() noexcept;

  // land.hpp: from the end of a read to pages in place
  void land(OpId id) noexcept;
  Landing install(PageRange range, const std::uint8_t* bytes, PageNumber key,
                  std::uint64_t& counter) noexcept;
  void ask_owner(OpId id) noexcept;
  void ask_again(OpId id, Errc status) noexcept;
  void give_up(OpId id, Errc why) noexcept;
  void release(OpId id, bool wake = true) noexcept;
  void fail(PageNumber page, Errc why) noexcept;
  [[nodiscard]] ReadRequest request_for(OpId id, Time deadline) noexcept;

  // time.hpp: what was put off
  void wait(PageNumber page, Time deadline, WaitingFault::Reason reason, PageNumber key) noexcept;
  void retry_soon() noexcept;
  void retry(Time now) noexcept;
  void retry_busy() noexcept;
  void ask_for_waiting(PageRange range) noexcept;
  void expire(OpId id) noexcept;
  void read_again(OpId id, Time now) noexcept;
  void settle(PageRange changed, PageRange overwritten = {}) noexcept;
  static void filled(CacheWaiter& self, PageRange keys) noexcept;
  void on_filled(PageRange keys) noexcept;

  Pf platform_;
  Engine<P, typename Pf::Allocator> engine_;
  Deadlines deadlines_;
  std::uint32_t slot_;
  std::uint32_t sequence_ = 0;
  bool closed_ = false;
  bool pumping_ = false;
  Errc eager_error_ = Errc::ok;
  WorkingSet* known_ = nullptr;  ///< null: nothing is recorded
  Time record_until_{};
  Foreseen foreseen_;
  WaitList waiting_;
  Time retry_at_ = Time::never;
  ChildStats stats_;
  [[no_unique_address]] Recorder<typename P::profile> profile_;
  Flight flights_[max_ops];
};

}  // namespace mitosis

#include <mitosis/fork/child/changes.hpp>
#include <mitosis/fork/child/fault.hpp>
#include <mitosis/fork/child/foreseen.hpp>
#include <mitosis/fork/child/land.hpp>
#include <mitosis/fork/child/time.hpp>
