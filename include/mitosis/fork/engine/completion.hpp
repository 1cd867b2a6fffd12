// SPDX-License-Identifier: MIT
// Engine: reads that come back. World: any (freestanding). Part of fork/engine.hpp.
#pragma once

#include <mitosis/fork/engine.hpp>

namespace mitosis {

template <LegalPolicy P, Allocator A>
Verdict Engine<P, A>::on_read(OpId id, Errc status) noexcept {
  Op& op = ops_[id];
  if (status == Errc::ok) return Verdict::install;
  // An eager start goes over these pages again, page by page.
  if (op.kind == OpKind::eager) go_carefully(op.pages);
  // Nobody insists on what was read ahead: who needs it faults, and asks for it by itself.
  if (op.kind != OpKind::demand || !next_install(id, op.pages.first)) return Verdict::drop;
  if (is_final(status)) return Verdict::fail;
  op.through_fallback = !op.through_fallback;
  return op.through_fallback ? Verdict::fallback : Verdict::retry;
}

template <LegalPolicy P, Allocator A>
std::optional<PageRange> Engine<P, A>::next_install(OpId id, PageNumber from) const noexcept {
  if (broken_ != Errc::ok) return std::nullopt;
  const Op& op = ops_[id];
  std::optional<PageRange> found;
  if (from < op.pages.first || from >= op.pages.end()) return found;
  map_.for_each({from, op.pages.end() - from}, [&](const PageRun& run) {
    if (run.value.state != PageState::in_flight || run.value.op != std::uint32_t{id} + 1) {
      return true;
    }
    found = run.range;
    return false;
  });
  return found;
}

template <LegalPolicy P, Allocator A>
bool Engine<P, A>::abandon(OpId id) noexcept {
  const Op& op = ops_[id];
  bool any = false;
  while (const auto piece = next_install(id, op.pages.first)) {
    any = true;
    const PageNumber key = op.key + (piece->first - op.pages.first);
    keep(map_.assign(*piece, {PageState::remote, origin_.locate(key).owner, 0, key}));
  }
  if (P::eager && any && op.pages.first < eager_at_) eager_at_ = op.pages.first;
  return any;
}

}  // namespace mitosis
