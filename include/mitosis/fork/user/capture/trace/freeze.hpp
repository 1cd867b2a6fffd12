// SPDX-License-Identifier: MIT
// freeze: from a running process's pid to its shadow and its threads' state, the story. World:
// user. Runs in a process of its own: it blocks, and its end, however it comes, ends the tracing.
#pragma once

#include <sys/wait.h>

#include <mitosis/fork/user/capture/thread_state.hpp>
#include <mitosis/fork/user/capture/trace/clone.hpp>
#include <mitosis/fork/user/capture/trace/inside.hpp>
#include <mitosis/fork/user/capture/trace/process_questions.hpp>
#include <mitosis/fork/user/capture/trace/remote_space.hpp>
#include <mitosis/fork/user/capture/trace/shadow_ops.hpp>
#include <mitosis/fork/user/capture/trace/target_check.hpp>
#include <mitosis/fork/user/capture/trace/thread_facts.hpp>
#include <mitosis/fork/user/capture/trace/tracee.hpp>

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::capture {

struct Frozen {
  pid_t shadow = 0;                                ///< it reports to the agent by itself
  std::vector<ThreadState> threads;                ///< [0] is the leader
  local::ProcessFacts process;                     ///< without pending signals
  std::uint64_t hidden_start = 0, hidden_end = 0;  ///< memory of the shadow that is ours
  std::vector<MarkedRange> unmarked;               ///< MADV_DONTFORK, which the shadow has not
  std::uint64_t stopped_ns = 0;                    ///< how long the process stood still
};

/// What the agent does meanwhile.
template <class A>
concept FreezeAgent = requires(A& agent) {
  /// All threads stand still from now on: it may look at the process.
  { agent.all_stopped() } -> std::same_as<Result<void>>;
  /// Waits for what it thinks of it; an error is the capture's.
  { agent.verdict() } -> std::same_as<Result<void>>;
};

namespace detail {

/// No single step may keep the process longer.
inline constexpr std::chrono::milliseconds stop_patience{500};
inline constexpr std::chrono::milliseconds step_patience{2'000};
/// Beside what each thread takes: the code, the shadow's ops and report, two ops for each mapping
/// that is marked MADV_DONTFORK.
inline constexpr std::size_t space_bytes = std::size_t{1} << 19;

}  // namespace detail

/// Clones the process once the agent agrees. Whatever fails, the process goes on as if nothing had
/// been, and there is no shadow.
template <FreezeAgent Agent>
Result<Frozen> freeze(pid_t pid, const Lifeline& lifeline, Agent& agent) {
  using Clock = std::chrono::steady_clock;
  // 1. All that can be done while it runs.
  const arch::XstateLayout layout;
  const std::uint64_t xfeatures = arch::xfeatures();
  const std::size_t each = inside_bytes(arch::xstate_size());
  await_orphaned_tracer(pid);
  if (Result<void> ok = check_target(pid); !ok) return ok.error();
  Result<Tracee> tracee = Tracee::seize(pid);
  if (!tracee) return tracee.error();

  // 2. It stands still; the agent looks at its files meanwhile.
  StopClock clock(detail::stop_patience);
  const Clock::time_point begun = Clock::now();
  if (Result<void> ok = tracee->stop(clock); !ok) return ok.error();
  clock.restart(detail::step_patience);
  auto& threads = tracee->threads();
  Result<RemoteSpace> space =
      RemoteSpace::map(*tracee, clock, detail::space_bytes + threads.size() * each);
  if (!space) return space.error();
  if (Result<void> ok = agent.all_stopped(); !ok) return ok.error();

  // 3. Its threads, from outside and from inside.
  Frozen frozen;
  frozen.hidden_start = space->start();
  frozen.hidden_end = space->end();
  for (TracedThread& thread : threads) {
    Result<ThreadState> state = read_thread(thread, space->memory(), tracee->tasks(), layout);
    if (!state) return state.error();
    frozen.threads.push_back(std::move(*state));
  }
  const auto questions = ProcessQuestions::put(*space, tracee->process());
  if (!questions) return questions.error();
  Inside inside(*space, frozen.threads, xfeatures, questions->ops());
  const std::uint64_t ignored = space->reserve(16, 8);
  const std::uint64_t clone_op = space->put(RemoteOp{SYS_clone, {}, ignored});
  RemoteSlot slot = slot_of(clone_op, 1, ignored + 8);
  put_shadow_ops(*space, lifeline, slot);
  const std::uint64_t clone_slot = space->put(slot);
  if (Result<void> ok = space->write(); !ok) return ok.error();
  if (Result<void> ok = inside.ask(*tracee, *space, clock, frozen.threads); !ok) return ok.error();

  const auto process = questions->answers(*space);
  if (!process) return process.error();
  frozen.process = *process;

  // 4. The agent's word, and the copy. Time passes only for the kernel's part of it.
  if (Result<void> ok = agent.verdict(); !ok) return ok.error();
  clock.restart(std::chrono::seconds(remote_patience_seconds));
  Cloner cloner(*tracee, *space, slot, clone_slot, inside.frame(0));
  Result<NewShadow> shadow = cloner.clone(clock);
  if (!shadow) return shadow.error();

  // 5. It goes on.
  for (std::size_t i = 1; i < threads.size(); ++i) (void)threads[i].detach();
  clock.restart(TracedThread::rollback_patience);
  if (Result<void> ok = cloner.finish(clock); !ok) return ok.error();
  if (Result<void> ok = space->unmap(clock); !ok) return ok.error();
  if (Result<void> ok = tracee->leader().detach(); !ok) return ok.error();
  frozen.stopped_ns =
      static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now() - begun).count());

  frozen.unmarked = cloner.left_out();

  // What hardly ever changes, and takes longer. A thread that has ended since is like the leader.
  for (std::size_t i = 1; i < frozen.threads.size(); ++i) {
    ThreadState& thread = frozen.threads[i];
    if (!read_placement(static_cast<pid_t>(thread.record.tid), thread.scheduling)) {
      (void)read_placement(pid, thread.scheduling);
    }
  }

  // 6. So does the shadow.
  const bool filtered = !frozen.threads[0].filters.empty();
  const Result<pid_t> free = filtered ? shadow->park(clock) : shadow->let_go(clock);
  if (!free) return free.error();
  frozen.shadow = *free;
  return frozen;
}

}  // namespace mitosis::capture
