// SPDX-License-Identifier: MIT
// Child: from a fault to its reads. World: any (freestanding). Part of fork/child.hpp.
#pragma once

#include <mitosis/fork/child.hpp>

namespace mitosis {

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_fault(PageNumber page) noexcept {
  if (closed_) return;
  ++stats_.faults;
  serve(page, platform_.now() + deadlines_.page);
}

/// 1. Decide. 2. Carry the plan out. 3. Read ahead for a sequential reader, doorbell by doorbell.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::serve(PageNumber page, Time deadline) noexcept {
  Plan plan;
  [[maybe_unused]] const Time began = profile_.enabled ? platform_.now() : Time{};
  engine_.on_fault(page, platform_.cache(), plan);
  if constexpr (P::profiled) profile_.record(ProfileStep::plan, began, platform_.now());
  post(plan, deadline);  // first: the wire works while we do
  carry_out(plan, page, deadline);
  if constexpr (P::prefetch > 0) go_on_foreseeing(plan);
  if constexpr (P::prefetch > 0) {
    for (engine_.read_ahead(platform_.cache(), plan); plan.count > 0;
         engine_.read_ahead(platform_.cache(), plan)) {
      post(plan, deadline);
    }
  }
}

/// What the plan says of the page itself; its reads are posted already.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::carry_out(const Plan& plan, PageNumber page, Time deadline) noexcept {
  switch (plan.action) {
    case Action::none:
    case Action::read:
      return;
    case Action::wait:
      if (plan.why == Wait::filling) {
        wait(page, deadline, WaitingFault::Reason::filling, plan.key);
      } else if (plan.why == Wait::no_slot) {
        wait(page, deadline, WaitingFault::Reason::busy, {});
      } else {
        wait(page, deadline, WaitingFault::Reason::in_flight, {});
      }
      return;
    case Action::zero:
      return zero(page, deadline);
    case Action::map_cached: {
      const Landing landing = install(plan.range, nullptr, plan.key, stats_.cached);
      if (landing == Landing::changing) wait(page, deadline, WaitingFault::Reason::changing, {});
      if (landing == Landing::failed) fail(page, Errc::out_of_memory);
      return;
    }
    case Action::fail:
      return fail(page, plan.error);
  }
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::zero(PageNumber page, Time deadline) noexcept {
  switch (platform_.memory().zero_in({page, 1}).status) {
    case Install::done:
      ++stats_.zeros;
      return waiting_.forget({page, 1});
    case Install::exists:
    case Install::split:
    case Install::unmapped:
      waiting_.forget({page, 1});
      return platform_.memory().wake({page, 1});
    case Install::again:
      return wait(page, deadline, WaitingFault::Reason::changing, {});
    case Install::gone:
      return close();
    case Install::failed:
      return fail(page, Errc::out_of_memory);
  }
}

/// Posts a plan's reads with one doorbell. A read that finds no landing is taken back: what was
/// read ahead is forgotten, a fault waits.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::post(const Plan& plan, Time deadline) noexcept {
  ReadRequest requests[max_reads];
  std::size_t count = 0;
  for (unsigned i = 0; i < plan.count; ++i) {
    if (prepare(plan.reads[i], deadline, requests[count])) ++count;
  }
  if (count == 0) return;
  stats_.reads += count;
  platform_.fabric().post(Span<const ReadRequest>(requests, count));
}

template <LegalPolicy P, Platform Pf>
bool Child<P, Pf>::prepare(const Read& read, Time deadline, ReadRequest& request) noexcept {
  Flight& flight = flights_[read.op];
  const bool demand = engine_.op(read.op).kind == OpKind::demand;
  flight.read = read;
  flight.filling = read.fill;
  flight.holds_landing = false;
  if (!read.fill) {
    flight.read.into = platform_.acquire_landing(read.pages.count);
    if (flight.read.into.data == nullptr) {
      engine_.finish(read.op);
      if (demand) wait(read.pages.first, deadline, WaitingFault::Reason::busy, {});
      if (P::eager) {
        if (engine_.ops().used() == 0) engine_.go_carefully(read.pages);  // none is so large
        retry_soon();
      }
      return false;
    }
    flight.holds_landing = true;
  }
  flight.started = flight.posted = platform_.now();
  flight.deadline = deadline;
  flight.next = deadline + deadlines_.grace;
  flight.phase = Phase::reading;
  flight.installed = 0;
  const Time attempt = flight.posted + deadlines_.attempt;
  request = request_for(read.op, demand && attempt < deadline ? attempt : deadline);
  return true;
}

/// Keeps an eager start going: as many reads as it may have out, and what the cache has.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::pump_eager() noexcept {
  if constexpr (P::eager) {
    if (closed_ || pumping_ || eager_error_ != Errc::ok) return;
    pumping_ = true;  // a read without a landing ends at once: no recursion
    Plan plan;
    do {
      engine_.next_eager(platform_.cache(), plan);
      const Time deadline = platform_.now() + deadlines_.page;
      const unsigned out = engine_.ops().used();
      post(plan, deadline);
      const bool starved = engine_.ops().used() < out;  // of landings
      if (plan.action == Action::map_cached) {
        const Landing landing = install(plan.range, nullptr, plan.key, stats_.cached);
        if (landing == Landing::failed) eager_error_ = Errc::out_of_memory;
        if (landing == Landing::changing) {
          engine_.look_again_from(plan.range.first);
          retry_soon();
          break;
        }
      } else if (plan.action == Action::fail) {
        eager_error_ = plan.error;
      }
      if (starved) break;
    } while (!closed_ && (plan.count > 0 || plan.more || plan.action == Action::map_cached));
    if (engine_.skipped()) platform_.waiters().join(*this);
    pumping_ = false;
  }
}

}  // namespace mitosis
