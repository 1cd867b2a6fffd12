// SPDX-License-Identifier: MIT
// Child: what the process does to its memory. World: any (freestanding). Part of fork/child.hpp.
#pragma once

#include <mitosis/fork/child.hpp>

namespace mitosis {

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_removed(PageRange range) noexcept {
  engine_.on_removed(range);
  settle(range);
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_unmapped(PageRange range) noexcept {
  engine_.on_unmapped(range);
  settle(range);
}

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::on_moved(PageRange from, PageNumber to) noexcept {
  engine_.on_moved(from, to);
  settle(from, {to, from.count});  // what was there is overwritten
}

template <LegalPolicy P, Platform Pf>
Errc Child<P, Pf>::fork_into(Child& copy) noexcept {
  const Errc done = engine_.fork_into(copy.engine_);
  settle({});
  return done;
}

/// Threads that slept in a fault of the changed ranges fault again and see what is there now; then,
/// and not before, what waited for the change to be read is retried: a read that finds none of its
/// pages left to install wakes nobody.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::settle(PageRange range, PageRange overwritten) noexcept {
  if (closed_ || (idle() && waiting_.empty())) return;
  for (const PageRange changed : {range, overwritten}) {
    if (changed.empty()) continue;
    waiting_.forget(changed);
    platform_.memory().wake(changed);
  }
  if (retry_at_ != Time::never) retry(platform_.now());
}

/// Reads that are out end as their completions come; whatever else there is ends now.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::close() noexcept {
  if (closed_) return;
  closed_ = true;
  waiting_.clear();
  retry_at_ = Time::never;
  platform_.waiters().leave(*this);
  engine_.ops().for_each([&](OpId id) {
    const Phase phase = flights_[id].phase;
    if (phase == Phase::pausing || phase == Phase::changing) release(id);
  });
}

}  // namespace mitosis
