// SPDX-License-Identifier: MIT
// The ops that make the child's further threads. World: user.
// The first thread makes them while everything can still be reported; each takes its own program
// from its stack pointer, sets what the kernel only notes, says so, and waits at the gate. That
// opens once the agent serves the memory. There each notes its new number, and waits at a second
// gate: none runs the program's code, which may look at another's number, before all have.
#pragma once

#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <mitosis/fork/user/restore/check_threads.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>
#include <mitosis/fork/user/restore/seccomp.hpp>
#include <mitosis/fork/user/restore/trampoline.hpp>
#include <mitosis/fork/user/restore/write_thread.hpp>
#include <mitosis/fork/user/sched_attr.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::restore {

/// How many ops write_thread_starts and write_further_threads add for each thread, and how much
/// data, at most.
inline constexpr std::size_t ops_a_thread = 26, bytes_a_thread = 660;

/// Where the threads meet: addresses of 32 bits that are 0 at first.
struct ThreadGates {
  std::uint64_t open = 0;    ///< set once they may touch the child's memory
  std::uint64_t placed = 0;  ///< set once all have their numbers there
  struct Thread {
    std::uint64_t program = 0;
    std::uint64_t ready = 0;   ///< set by it, once all that can fail is behind it
    std::uint64_t placed = 0;  ///< set by it, once its number is in the child's memory
  };
  std::vector<Thread> further;  ///< [i] is the descriptor's thread i+1
};

namespace detail {
inline void write_set(std::uint64_t at, ProgramWriter& program) {
  Op set = {};
  set.nr = SYS_gettid;  // anything but 0
  set.at = at;
  set.flags = op_store;
  program.add(set);
}
inline void write_wait(std::uint64_t at, ProgramWriter& program) {
  Op wait = {};
  wait.nr = SYS_futex;
  wait.args[0] = at;
  wait.args[1] = FUTEX_WAIT | FUTEX_PRIVATE_FLAG;
  wait.at = at;
  wait.flags = op_until_set;
  program.add(wait);
}
inline void write_wake(std::uint64_t at, std::uint64_t count, ProgramWriter& program) {
  program.op(SYS_futex, at, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, count);
}
}  // namespace detail

/// Takes all capabilities from the thread that runs it.
inline void write_no_capabilities(ProgramWriter& program) {
  const __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  const std::uint64_t none = program.put_room(2 * sizeof(__user_cap_data_struct));
  program.op(SYS_capset, program.put_value(header), none);
}

/// Makes the threads, as the C library makes them. They inherit that all signals are blocked. With
/// `same_numbers` they are made under the parent's numbers.
inline void write_thread_starts(const DescriptorView& view, bool same_numbers, ThreadGates& gates,
                                ProgramWriter& program) {
  const auto threads = view.threads();
  if (threads.size() == 1) return;
  program.step("start its threads");
  gates.open = program.put_room(sizeof(std::uint32_t));
  gates.placed = program.put_room(sizeof(std::uint32_t));
  for (std::size_t i = 1; i < threads.size(); ++i) {
    const descriptor::ThreadRecord thread = threads[i];
    const ThreadGates::Thread gate = {program.put_thread(), program.put_room(sizeof(std::uint32_t)),
                                      program.put_room(sizeof(std::uint32_t))};
    clone_args args = {};
    args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_SETTLS;
    args.tls = arch::thread_pointer_of(thread);
    if (thread.clear_child_tid != 0) {
      args.flags |= CLONE_CHILD_CLEARTID;
      args.child_tid = thread.clear_child_tid;
    }
    if (same_numbers) {
      args.set_tid = program.put_value(thread.tid);
      args.set_tid_size = 1;
    }
    args.stack_size = 16;  // the kernel sets the stack pointer to its end, and uses none of it
    args.stack = gate.program - args.stack_size;
    Op start = {};
    start.nr = SYS_clone3;
    start.args[0] = program.put_value(args);
    start.args[1] = sizeof args;
    start.flags = op_thread;
    program.add(start);
    gates.further.push_back(gate);
  }
}

namespace detail {
/// Where it differs from the first thread's, which made it; as far as the kernel allows.
inline void write_thread_scheduling(const descriptor::SchedulingRecord& want,
                                    const descriptor::SchedulingRecord& first,
                                    ProgramWriter& program) {
  if (std::memcmp(want.cpus, first.cpus, sizeof want.cpus) != 0) {
    program.op_any(SYS_sched_setaffinity, 0, sizeof want.cpus, program.put_value(want.cpus));
  }
  if (want.nice != first.nice) program.op_any(SYS_setpriority, PRIO_PROCESS, 0, want.nice);
  if (want.policy != first.policy || want.priority != first.priority) {
    SchedAttr attr;
    attr.policy = want.policy;
    attr.nice = want.nice;
    attr.priority = want.priority;
    program.op_any(SYS_sched_setattr, 0, program.put_value(attr), 0);
  }
  if (want.timer_slack_ns != 0 && want.timer_slack_ns != first.timer_slack_ns) {
    program.op(SYS_prctl, PR_SET_TIMERSLACK, want.timer_slack_ns, 0, 0, 0);
  }
}

/// What waited for this thread alone waits again. Its number is told by the op before.
inline void write_thread_signals(const DescriptorView& view, std::size_t thread,
                                 ProgramWriter& program) {
  const auto process = static_cast<std::uint64_t>(::getpid());
  for (const descriptor::PendingSignalRecord& pending : view.pending_signals()) {
    if (pending.thread < 0 || static_cast<std::size_t>(pending.thread) != thread) continue;
    Op number = {};
    number.nr = SYS_gettid;
    number.at = program.next_op() + sizeof(Op) + offsetof(Op, args) + sizeof(std::uint64_t);
    number.flags = op_store;
    program.add(number);
    program.op(SYS_rt_tgsigqueueinfo, process, 0, pending.signal, program.put_value(pending.info));
  }
}
}  // namespace detail

/// From then on none of them can fail.
inline void write_wait_for_threads(const ThreadGates& gates, ProgramWriter& program) {
  for (const ThreadGates::Thread& thread : gates.further) {
    detail::write_wait(thread.ready, program);
  }
}

/// Lets them go on to the child's memory.
inline void write_gate_opening(const ThreadGates& gates, ProgramWriter& program) {
  if (gates.further.empty()) return;
  detail::write_set(gates.open, program);
  detail::write_wake(gates.open, gates.further.size(), program);
}

/// Once each has written its own there, lets them go on to the child's code.
inline void write_second_gate(const ThreadGates& gates, ProgramWriter& program) {
  if (gates.further.empty()) return;
  for (const ThreadGates::Thread& thread : gates.further) {
    detail::write_wait(thread.placed, program);
  }
  detail::write_set(gates.placed, program);
  detail::write_wake(gates.placed, gates.further.size(), program);
}

/// Their own programs, behind the first thread's. `drops`: their capabilities go.
inline void write_further_threads(const DescriptorView& view, const ThreadGates& gates, bool drops,
                                  const Trampoline& trampoline, ProgramWriter& program) {
  if (gates.further.empty()) return;
  program.step("restore a thread");
  const auto threads = view.threads();
  const descriptor::ThreadRecord first = threads[0];
  for (std::size_t i = 1; i < threads.size(); ++i) {
    const descriptor::ThreadRecord thread = threads[i];
    const ThreadGates::Thread& gate = gates.further[i - 1];
    program.begin_thread(gate.program, trampoline.frame(i));
    arch::write_other_pointers(thread, first, program);
    if (thread.robust_list_bytes != 0) {
      program.op(SYS_set_robust_list, thread.robust_list, thread.robust_list_bytes);
    }
    if (std::strncmp(thread.name, first.name, sizeof thread.name) != 0) {
      program.op(SYS_prctl, PR_SET_NAME, program.put_value(thread.name), 0, 0, 0);
    }
    if (view.scheduling().size() > i) {
      detail::write_thread_scheduling(view.scheduling()[i], view.scheduling()[0], program);
    }
    if (drops) write_no_capabilities(program);
    detail::write_thread_signals(view, i, program);
    detail::write_set(gate.ready, program);
    detail::write_wake(gate.ready, 1, program);
    detail::write_wait(gates.open, program);
    write_thread_memory(thread, has_tid(view, thread), program);
    write_held_locks(view, i, program);
    detail::write_set(gate.placed, program);
    detail::write_wake(gate.placed, 1, program);
    detail::write_wait(gates.placed, program);
    write_filters(view, i, program);
  }
}

}  // namespace mitosis::restore
