// SPDX-License-Identifier: MIT
// write_program(): everything that happens after the point of no return, in its order.
// World: user.
#pragma once

#include <mitosis/fork/user/restore/opened.hpp>
#include <mitosis/fork/user/restore/room.hpp>
#include <mitosis/fork/user/restore/seccomp.hpp>
#include <mitosis/fork/user/restore/write_attributes.hpp>
#include <mitosis/fork/user/restore/write_files.hpp>
#include <mitosis/fork/user/restore/write_marks.hpp>
#include <mitosis/fork/user/restore/write_memory.hpp>
#include <mitosis/fork/user/restore/write_process.hpp>
#include <mitosis/fork/user/restore/write_thread.hpp>

#include <cstdint>

namespace mitosis::restore {

/// Writes into `room`, from which the program is to be entered. `cache` is the cache's memfd or -1,
/// `same_numbers` as in ResumeRequest.
inline Result<const OpProgram*> write_program(const DescriptorView& view, const AddressSpace& own,
                                              const Opened& opened, int cache,
                                              Span<const UniqueFd> shared, const Room& room,
                                              const Permitted& permitted, const PosixTimers& timers,
                                              bool same_numbers) {
  const descriptor::ThreadRecord thread = view.threads()[0];
  const int socket = opened.socket.get(), uffd = opened.uffd.get();
  const Keep keep = room.keep();
  ProgramWriter program(room.scratch.bytes().sub(0, room.program_bytes), room.max_ops);

  // The launcher's memory goes, the child's comes.
  write_plain_personality(program);
  write_vdso_parking(own, keep, program);
  write_unmap(keep, program);
  write_vdso_to(own, special_ranges(view), keep, program);
  write_mappings(view, room.mappings, opened.mapped, cache, shared, program);
  write_seals(opened.files.seals, program);
  write_watches(room.mappings, keep, uffd, program);
  write_marks(view, room.mappings, permitted, program);
  // What is noted in the kernel; last the files, of which the steps before used some.
  write_mm(view, opened.exe.get(), program);
  write_sigactions(view, program);
  write_attributes(view, permitted, timers, program);
  write_thread(thread, program);
  ThreadGates gates;
  write_thread_starts(view, same_numbers, gates, program);
  const bool drops = same_numbers && ::geteuid() != 0;
  if (drops) write_no_capabilities(program);
  write_files(opened.files, {socket, uffd}, program);
  write_limits(view, program);
  write_wait_for_threads(gates, program);
  // From the agent's leave on the child's memory can be touched.
  write_hand_over(socket, program);
  write_start(view, room.trampoline.birth(), program);
  write_gate_opening(gates, program);
  program.step("restore the thread's memory");
  write_thread_memory(thread, has_tid(view, thread), program);
  write_held_locks(view, 0, program);
  write_second_gate(gates, program);
  program.op(SYS_close, socket);
  program.step("install the seccomp filters");
  write_filters(view, 0, program);
  write_further_threads(view, gates, drops, room.trampoline, program);
  return program.finish(room.trampoline.frame(0), keep.scratch.start, keep.scratch.bytes(), socket);
}

}  // namespace mitosis::restore
