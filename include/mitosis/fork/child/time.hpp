// SPDX-License-Identifier: MIT
// Child: what was put off, and what is overdue. World: any (freestanding). Part of fork/child.hpp.
#pragma once

#include <mitosis/fork/child.hpp>

namespace mitosis {

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_time(Time now) noexcept {
  if (!closed_) {
    engine_.ops().for_each([&](OpId id) {
      Flight& flight = flights_[id];
      if (now < flight.next) return;
      if (flight.phase == Phase::reading || flight.phase == Phase::asking) expire(id);
      if (flight.phase == Phase::pausing) read_again(id, now);
    });
  }
  if (now >= retry_at_) retry(now);
  for (unsigned i = waiting_.size(); i-- > 0;) {
    if (now < waiting_[i].deadline) continue;
    fail(waiting_.take(i).page, Errc::timed_out);
  }
}

template <LegalPolicy P, Platform Pf>
Time Child<P, Pf>::next_deadline() const noexcept {
  if (closed_) return Time::never;
  Time first = retry_at_;
  engine_.ops().for_each([&](OpId id) {
    if (flights_[id].next < first) first = flights_[id].next;
  });
  for (unsigned i = 0; i < waiting_.size(); ++i) {
    if (waiting_[i].deadline < first) first = waiting_[i].deadline;
  }
  return first;
}

/// The fabric has not kept its deadline. The page fails; the read's memory stays its own.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::expire(OpId id) noexcept {
  Flight& flight = flights_[id];
  flight.phase = Phase::expired;
  flight.next = Time::never;
  if (P::eager && eager_error_ == Errc::ok) eager_error_ = Errc::timed_out;
  if (!engine_.abandon(id)) return;
  if (engine_.op(id).kind == OpKind::demand) {
    fail(flight.read.pages.first, Errc::timed_out);
  } else {
    ask_for_waiting(flight.read.pages);
  }
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::read_again(OpId id, Time now) noexcept {
  Flight& flight = flights_[id];
  const Time attempt = now + deadlines_.attempt;
  flight.phase = Phase::reading;
  flight.posted = now;
  flight.next = flight.deadline + deadlines_.grace;
  const ReadRequest request =
      request_for(id, attempt < flight.deadline ? attempt : flight.deadline);
  ++stats_.reads;
  platform_.fabric().post(Span<const ReadRequest>(&request, 1));
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::wait(PageNumber page, Time deadline, WaitingFault::Reason reason,
                        PageNumber key) noexcept {
  using Reason = WaitingFault::Reason;
  waiting_.add({page, key, deadline, reason});
  if (reason == Reason::filling) platform_.waiters().join(*this);
  if (reason == Reason::busy || reason == Reason::changing || waiting_.overflowed()) retry_soon();
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::retry_soon() noexcept {
  if (retry_at_ == Time::never) retry_at_ = platform_.now() + deadlines_.retry;
}

/// Everything that a changing map, a full table or missing landings have put off. The list is
/// walked downwards: what serving a fault puts off again comes behind.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::retry(Time now) noexcept {
  retry_at_ = Time::never;
  if (closed_) return;
  engine_.ops().for_each([&](OpId id) {
    if (flights_[id].phase != Phase::changing) return;
    flights_[id].phase = Phase::landed;
    land(id);
  });
  for (unsigned i = waiting_.size(); i-- > 0;) {
    if (i >= waiting_.size()) continue;  // serving one has settled others
    const auto reason = waiting_[i].reason;
    if (reason != WaitingFault::Reason::busy && reason != WaitingFault::Reason::changing) continue;
    if (now >= waiting_[i].deadline) continue;  // on_time's
    const WaitingFault fault = waiting_.take(i);
    serve(fault.page, fault.deadline);
  }
  if (waiting_.overflowed()) {
    if (waiting_.size() <= WaitList::capacity / 2) {
      waiting_.clear_overflow();
      platform_.memory().wake({PageNumber{16}, page_of(user_address_end) - PageNumber{16}});
    } else {
      retry_soon();
    }
  }
  pump_eager();
}

/// A read ahead has not brought these pages: who waits for one asks for it by itself, by the
/// deadline that it has.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::ask_for_waiting(PageRange range) noexcept {
  for (unsigned i = waiting_.size(); i-- > 0;) {
    if (i >= waiting_.size() || !range.contains(waiting_[i].page)) continue;
    const WaitingFault fault = waiting_.take(i);
    serve(fault.page, fault.deadline);
  }
  platform_.memory().wake(range);  // and those for whom the list had no room
}

/// A slot or a landing is free again.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::retry_busy() noexcept {
  for (unsigned i = waiting_.size(); i-- > 0;) {
    if (i >= waiting_.size() || waiting_[i].reason != WaitingFault::Reason::busy) continue;
    const WaitingFault fault = waiting_.take(i);
    serve(fault.page, fault.deadline);
  }
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::filled(CacheWaiter& self, PageRange keys) noexcept {
  static_cast<Child&>(self).on_filled(keys);
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_filled(PageRange keys) noexcept {
  bool still = false;
  for (unsigned i = waiting_.size(); i-- > 0;) {
    if (i >= waiting_.size() || waiting_[i].reason != WaitingFault::Reason::filling) continue;
    if (keys.contains(waiting_[i].key)) {
      const WaitingFault fault = waiting_.take(i);
      serve(fault.page, fault.deadline);
    }
  }
  if (engine_.skipped()) {
    engine_.look_again();
    pump_eager();
  }
  for (unsigned i = 0; i < waiting_.size(); ++i) {
    still = still || waiting_[i].reason == WaitingFault::Reason::filling;
  }
  if (!still && !engine_.skipped()) platform_.waiters().leave(*this);
}

}  // namespace mitosis
