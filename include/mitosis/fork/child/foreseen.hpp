// SPDX-License-Identifier: MIT
// Child: what other children of its parent fetched first. World: any (freestanding). Part of
// fork/child.hpp. All of it is read ahead: nothing waits for it but a fault that finds its page on
// its way, and what fails or finds no room comes by its fault.
#pragma once

#include <mitosis/fork/child.hpp>

namespace mitosis {

template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::foresee(WorkingSet& known, Time record_until) noexcept {
  if constexpr (P::prefetch > 0) {
    foreseen_ = Foreseen(known);
    known_ = &known;
    record_until_ = record_until;
    pump_foreseen();
  } else {
    (void)known, (void)record_until;
  }
}

/// A fault that had to wait: more of what is known is due. What it reads itself is recorded.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::go_on_foreseeing(const Plan& plan) noexcept {
  if (plan.action != Action::read && plan.action != Action::wait) return;
  record(plan);
  foreseen_.allow_more();
  pump_foreseen();
}

/// A fault's reads, of which the first is its page and the others lie behind it.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::record(const Plan& plan) noexcept {
  if (known_ == nullptr || plan.count == 0) return;
  if (platform_.now() >= record_until_) {
    known_ = nullptr;
    return;
  }
  for (unsigned i = 0; i < plan.count; ++i) {
    known_->add({plan.reads[i].key, plan.reads[i].pages.count});
  }
}

/// Goes on until all slots are taken or no landing is free; each read that ends calls again.
template <LegalPolicy P, Platform Pf>
void Child<P, Pf>::pump_foreseen() noexcept {
  if constexpr (P::prefetch > 0) {
    if (closed_ || pumping_ || foreseen_.empty()) return;
    pumping_ = true;  // a read without a landing ends at once: no recursion
    Plan plan;
    bool starved = false;
    do {
      engine_.next_foreseen(foreseen_, platform_.cache(), plan);
      const unsigned out = engine_.ops().used();
      post(plan, platform_.now() + deadlines_.page);
      starved = engine_.ops().used() < out;
      if (plan.action == Action::map_cached) {
        (void)install(plan.range, nullptr, plan.key, stats_.cached);
      }
    } while (!closed_ && !starved && plan.more);
    pumping_ = false;
  }
}

}  // namespace mitosis
