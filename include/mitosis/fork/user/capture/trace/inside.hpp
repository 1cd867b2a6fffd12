// SPDX-License-Identifier: MIT
// ask_threads: what only a thread itself can ask the kernel, asked by all at once. World: user.
#pragma once

#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/fork/user/capture/trace/remote_op.hpp>
#include <mitosis/fork/user/capture/trace/remote_space.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

namespace mitosis::capture {

/// So long a thread stays in our code before it goes back by itself: only where the tracer has
/// died, or a clone takes longer than that.
inline constexpr std::int64_t remote_patience_seconds = 3;

/// What the threads write.
struct InsideAnswer {
  std::uint64_t altstack_base, altstack_flags, altstack_bytes;  ///< stack_t
  std::uint64_t clear_child_tid;
  std::int64_t altstack_result, tid_result, name_result;
  char name[16];  ///< with its zero
  std::uint64_t done;
};

/// Puts the frame there that brings the thread back without its tracer; its address.
inline std::uint64_t put_frame(RemoteSpace& space, const ThreadState& thread,
                               std::uint64_t xfeatures) {
  const Bytes xstate(thread.xstate);
  const std::uint64_t address = space.reserve(arch::frame_bytes(xstate), 64);
  // The local copy has another alignment than the frame must have.
  std::vector<std::uint8_t> room(arch::frame_bytes(xstate) + 64);
  const auto at = (reinterpret_cast<std::uint64_t>(room.data()) + 63) & ~std::uint64_t{63};
  auto* const frame = reinterpret_cast<std::uint8_t*>(at);
  arch::write_frame(thread.record, xstate, xfeatures, frame);
  arch::SignalFrame head;
  std::memcpy(&head, frame, sizeof(head));
  if (head.fpstate != 0) head.fpstate += address - at;
  std::memcpy(frame, &head, sizeof(head));
  std::memcpy(space.local(address), frame, arch::frame_bytes(xstate));
  return address;
}

inline RemoteSlot slot_of(std::uint64_t first, std::size_t ops, std::uint64_t done) noexcept {
  RemoteSlot slot;
  slot.first = first;
  slot.end = first + ops * sizeof(RemoteOp);
  slot.done = done;
  slot.patience_seconds = remote_patience_seconds;
  return slot;
}

/// The questions, laid out in the process.
class Inside {
 public:
  /// `of_leader`: what it is asked besides.
  Inside(RemoteSpace& space, const std::vector<ThreadState>& threads, std::uint64_t xfeatures,
         const std::vector<RemoteOp>& of_leader)
      : answers_(threads.size()),
        answers_at_(space.reserve(sizeof(InsideAnswer) * threads.size(), 8)) {
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const std::uint64_t answer = answers_at_ + i * sizeof(InsideAnswer);
      std::vector<RemoteOp> ops = {
          {SYS_sigaltstack, {0, answer}, answer + offsetof(InsideAnswer, altstack_result)},
          {SYS_prctl,
           {PR_GET_TID_ADDRESS, answer + offsetof(InsideAnswer, clear_child_tid)},
           answer + offsetof(InsideAnswer, tid_result)},
          // Told in no time here; /proc's comm would be opened while all stand still.
          {SYS_prctl,
           {PR_GET_NAME, answer + offsetof(InsideAnswer, name)},
           answer + offsetof(InsideAnswer, name_result)}};
      if (i == 0) ops.insert(ops.end(), of_leader.begin(), of_leader.end());
      const std::uint64_t first = space.put(ops[0], ops.size());
      slots_.push_back(
          space.put(slot_of(first, ops.size(), answer + offsetof(InsideAnswer, done))));
      frames_.push_back(put_frame(space, threads[i], xfeatures));
    }
  }
  /// Where thread i goes back from.
  [[nodiscard]] std::uint64_t frame(std::size_t i) const noexcept { return frames_[i]; }

  /// Lets all threads answer; afterwards they are held again. The space must have been written.
  Result<void> ask(Tracee& tracee, const RemoteSpace& space, const StopClock& clock,
                   std::vector<ThreadState>& threads) {
    for (std::size_t i = 0; i < threads.size(); ++i) {
      TracedThread& thread = tracee.threads()[i];
      const arch::Registers there =
          arch::entering(thread.own_registers(), space.code(), slots_[i], frames_[i]);
      if (Result<void> ok = thread.borrow(there, space.code(), space.code_bytes()); !ok) return ok;
      if (Result<void> ok = thread.run(); !ok) return ok;
    }
    // They are done before a stop could be told of: asking them to stop only then saves a round.
    do {
      if (Result<void> ok = space.read(answers_at_, answers_.data(), answers_.size()); !ok) {
        return ok;
      }
      if (clock.passed()) return Error(Errc::timed_out, "a thread does not run").in("trace");
      ::sched_yield();
    } while (!std::all_of(answers_.begin(), answers_.end(),
                          [](const InsideAnswer& answer) { return answer.done != 0; }));
    for (TracedThread& thread : tracee.threads()) (void)thread.interrupt();
    for (std::size_t i = 0; i < threads.size(); ++i) {
      const Result<bool> held = tracee.threads()[i].settle(clock);
      if (!held) return held.error();
      if (!*held) return Error(Errc::timed_out, "a thread went on by itself").in("trace");
      take(answers_[i], threads[i].record);
    }
    return {};
  }

 private:
  static void take(const InsideAnswer& answer, descriptor::ThreadRecord& record) noexcept {
    if (answer.altstack_result == 0) {
      record.altstack_base = answer.altstack_base;
      record.altstack_flags = static_cast<std::uint32_t>(answer.altstack_flags);
      record.altstack_bytes = answer.altstack_bytes;
    }
    if (answer.tid_result == 0) record.clear_child_tid = answer.clear_child_tid;
    static_assert(sizeof record.name == sizeof answer.name);
    if (answer.name_result == 0) std::memcpy(record.name, answer.name, sizeof record.name);
  }

  std::vector<InsideAnswer> answers_;
  std::uint64_t answers_at_;
  std::vector<std::uint64_t> slots_, frames_;
};

/// Room that the questions take, for each thread.
inline std::size_t inside_bytes(std::size_t xstate_bytes) noexcept {
  return sizeof(InsideAnswer) + 3 * sizeof(RemoteOp) + sizeof(RemoteSlot) + 1024 + xstate_bytes;
}

}  // namespace mitosis::capture
