// SPDX-License-Identifier: MIT
// The ops that make the child's further threads. World: user.
// The first thread makes them while everything can still be reported; each takes its own program
// from its stack pointer, sets what the kernel only notes, says so, and waits at the gate. That
// opens once the agent serves the memory: none runs the program's code before all exist.
#pragma once

#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/restore/check_threads.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>
#include <mitosis/fork/user/restore/trampoline.hpp>
#include <mitosis/fork/user/restore/write_thread.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::restore {

/// How many ops write_thread_starts and write_further_threads add for each thread, and how much
/// data, at most.
inline constexpr std::size_t ops_a_thread = 14, bytes_a_thread = 384;

/// Where the threads meet: addresses of 32 bits that are 0 at first.
struct ThreadGates {
  std::uint64_t open = 0;  ///< set once they may touch the child's memory
  struct Thread {
    std::uint64_t program = 0;
    std::uint64_t ready = 0;  ///< set by it, once all that can fail is behind it
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

/// Makes the threads, as the C library makes them. They inherit that all signals are blocked.
inline void write_thread_starts(const DescriptorView& view, ThreadGates& gates,
                                ProgramWriter& program) {
  const auto threads = view.threads();
  if (threads.size() == 1) return;
  program.step("start its threads");
  gates.open = program.put_room(sizeof(std::uint32_t));
  for (std::size_t i = 1; i < threads.size(); ++i) {
    const descriptor::ThreadRecord thread = threads[i];
    const ThreadGates::Thread gate = {program.put_thread(),
                                      program.put_room(sizeof(std::uint32_t))};
    clone_args args = {};
    args.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM |
                 CLONE_SETTLS;
    args.tls = arch::thread_pointer_of(thread);
    if (thread.clear_child_tid != 0) {
      args.flags |= CLONE_CHILD_CLEARTID;
      args.child_tid = thread.clear_child_tid;
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

/// From then on none of them can fail.
inline void write_wait_for_threads(const ThreadGates& gates, ProgramWriter& program) {
  for (const ThreadGates::Thread& thread : gates.further) {
    detail::write_wait(thread.ready, program);
  }
}

/// Lets them go on to the child's memory, and to its code.
inline void write_gate_opening(const ThreadGates& gates, ProgramWriter& program) {
  if (gates.further.empty()) return;
  detail::write_set(gates.open, program);
  detail::write_wake(gates.open, gates.further.size(), program);
}

/// Their own programs, behind the first thread's.
inline void write_further_threads(const DescriptorView& view, const ThreadGates& gates,
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
    detail::write_set(gate.ready, program);
    detail::write_wake(gate.ready, 1, program);
    detail::write_wait(gates.open, program);
    write_thread_memory(thread, has_tid(view, thread), program);
  }
}

}  // namespace mitosis::restore
