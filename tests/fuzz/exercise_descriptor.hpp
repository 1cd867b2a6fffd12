// SPDX-License-Identifier: MIT
// What a fuzzer does with bytes that claim to be a descriptor: parse them and, where they pass,
// read all that a user of the view could read and check what the view promises. World: user.
#pragma once

#include <mitosis/mem/descriptor/view.hpp>

#include "exercise_payload.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace mitosis::test {

inline void require(bool promise, const char* what) {
  if (promise) return;
  std::fprintf(stderr, "an accepted descriptor breaks a promise: %s\n", what);
  std::abort();
}

/// Reads everything, so that a sanitizer sees what is out of bounds; aborts on a broken promise.
inline void walk(const DescriptorView& view) {
  using namespace descriptor;  // NOLINT
  std::uint64_t read = 0;
  const auto text = [&](std::uint32_t offset) { read += std::strlen(view.string(offset)); };
  text(view.mm().exe);
  text(view.mm().cwd);
  text(view.machine().kernel_release);
  text(view.machine().cpu_features);
  std::uint64_t end = 0;
  for (const VmaRecord v : view.vmas()) {
    text(v.path);
    require(v.start >= end && v.start < v.end && v.end <= user_address_end, "vmas ascend");
    require((v.start | v.end) % page_size == 0, "vmas are whole pages");
    end = v.end;
  }
  const auto vmas = view.vmas();
  std::size_t at = 0;
  end = 0;
  for (const RunRecord r : view.runs()) {
    require(r.count > 0 && r.page >= end, "runs ascend");
    end = r.page + r.count;
    require(r.owner < view.owners().size(), "a run's owner exists");
    require(r.source + r.count <= user_address_end >> page_shift, "sources are user pages");
    while (at < vmas.size() && vmas[at].end <= r.page << page_shift) ++at;
    require(at < vmas.size() && vmas[at].start <= r.page << page_shift &&
                end << page_shift <= vmas[at].end,
            "a run lies in one vma");
  }
  require(!view.owners().empty() && !view.threads().empty(), "an owner and a thread");
  for (const OwnerRecord o : view.owners()) read += std::strlen(o.address);
  for (const ThreadRecord t : view.threads()) {
    const Bytes xstate = view.xstate(t);
    require(xstate.size() == t.xstate_bytes, "an xstate area is whole");
    for (const std::uint8_t byte : xstate) read += byte;
    read += std::strlen(t.name);
  }
  std::int32_t fd = -1;
  for (const FileRecord f : view.files()) {
    text(f.path);
    read += static_cast<std::uint64_t>(exercise_payload(view.payload(f)));
    require(f.fd > fd && f.same_as < f.fd, "files ascend");
    fd = f.fd;
  }
  require(view.sigactions().empty() || view.sigactions().size() == 64, "64 signals");
  for (const SigactionRecord s : view.sigactions()) read += s.handler;
  for (const LimitRecord l : view.limits()) require(l.soft <= l.hard, "limits");
  for (const std::uint8_t byte : view.auxv()) read += byte;
  for (const VmaRecord v : view.vmas()) {
    require(v.kind != static_cast<std::uint32_t>(VmaKind::shared_object) ||
                v.file_inode < view.shared_objects().size(),
            "a shared vma's object exists");
  }
  for (const SharedRunRecord r : view.shared_runs()) {
    require(r.object < view.shared_objects().size() && r.count > 0, "a shared run's object exists");
    require((r.page + r.count - 1) << page_shift < view.shared_objects()[r.object].bytes,
            "a shared run lies in its object");
  }
  for (const SharedObjectRecord o : view.shared_objects()) text(o.name);
  for (std::size_t i = 0; i < view.tree().size(); ++i) {
    const MemberRecord m = view.tree()[i];
    require(m.parent <= i && m.pid > 0, "a member's parent comes before it");
    require(m.group == no_leader || m.group < view.tree().size(), "a group's leader exists");
  }
  for (const ProcessRecord p : view.process()) read += p.personality;
  for (const SchedulingRecord r : view.scheduling()) require(r.nice < 20, "nice");
  for (const TimerRecord t : view.timers()) {
    const bool silent = t.notify == static_cast<std::uint32_t>(TimerNotify::none);
    require(t.id >= 0 && (silent || t.signal <= 64), "timers");
  }
  for (const HeldLockRecord lock : view.held_locks()) {
    require(lock.thread < view.threads().size() && lock.address % 4 == 0, "a lock's thread exists");
  }
  for (const FilterRecord f : view.filters()) {
    require(f.thread < view.threads().size() && f.count > 0, "a filter's thread exists");
    require((std::uint64_t{f.first} + f.count) * 8 <= view.filter_code().size(), "filter code");
  }
  const auto threads = static_cast<std::int64_t>(view.threads().size());
  for (const PendingSignalRecord p : view.pending_signals()) {
    require(p.signal > 0 && p.signal <= 64 && p.thread < threads, "pending signals");
  }
  for (const std::uint8_t byte : view.vdso()) read += byte;
  volatile std::uint64_t sink = read;  // the reads count even if nobody looks at them
  (void)sink;
}

/// Whether the bytes were accepted. A refusal must say what is wrong.
inline bool exercise_descriptor(Bytes bytes) {
  const auto view = DescriptorView::parse(bytes);
  if (view.ok()) {
    walk(*view);
  } else {
    require(view.code() == Errc::bad_descriptor && !view.error().subject.empty(),
            "a refusal says why");
  }
  return view.ok();
}

}  // namespace mitosis::test
