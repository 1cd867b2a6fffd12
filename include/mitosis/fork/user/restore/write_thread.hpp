// SPDX-License-Identifier: MIT
// The ops that restore the first thread, and those that talk to the agent. World: user.
#pragma once

#include <linux/prctl.h>
#include <sys/syscall.h>

#include <mitosis/fork/user/arch/restore.hpp>
#include <mitosis/fork/user/local/packet.hpp>
#include <mitosis/fork/user/local/resume.hpp>
#include <mitosis/fork/user/restore/check_threads.hpp>
#include <mitosis/fork/user/restore/program_writer.hpp>
#include <mitosis/mem/descriptor/view.hpp>

#include <cstdint>
#include <cstring>
#include <vector>

namespace mitosis::restore {

/// What the kernel only notes: none of it touches the child's memory yet.
inline void write_thread(const descriptor::ThreadRecord& thread, ProgramWriter& program) {
  program.step("restore the thread");
  arch::write_thread_pointers(thread, program);
  program.op(SYS_set_tid_address, thread.clear_child_tid);
  if (thread.robust_list_bytes != 0) {
    program.op(SYS_set_robust_list, thread.robust_list, thread.robust_list_bytes);
  }
  program.op(SYS_prctl, PR_SET_NAME, program.put_value(thread.name), 0, 0, 0);
}

/// Tells the agent that everything is mapped, and waits for its leave. Anything but Go ends the
/// process without a further word: the agent knows.
inline void write_hand_over(int socket, ProgramWriter& program) {
  program.step("talk to the agent");
  const std::vector<std::uint8_t> mapped = local::encode_packet(local::Mapped{});
  const std::vector<std::uint8_t> go = local::encode_packet(local::Go{});
  static_assert(local::packet_header_bytes == 4, "Go has no fields: 32 bits tell it");
  std::uint32_t go_word;
  std::memcpy(&go_word, go.data(), sizeof go_word);
  constexpr std::uint64_t no_signal = 0x4000;  // MSG_NOSIGNAL
  program.op_returning(mapped.size(), SYS_sendto, socket, program.put(mapped), mapped.size(),
                       no_signal, 0, 0);
  const std::uint64_t answer = program.put_room(8);
  Op read = {};
  read.nr = SYS_read;
  read.args[0] = static_cast<std::uint64_t>(socket);
  read.args[1] = answer;
  read.args[2] = 8;
  read.at = answer;
  read.expect = go_word;
  read.flags = op_compare;
  program.add(read);
}

/// What makes the kernel write to the child's memory, or this program: the pager serves it now.
/// Of any thread; `has_tid`: there is memory where its number is kept.
inline void write_thread_memory(const descriptor::ThreadRecord& thread, bool has_tid,
                                ProgramWriter& program) {
  if (has_tid) {
    // The C library keeps its thread's number there, and the child's is another. Not every one:
    // another's word for other ends is 0 while no thread is coming or going.
    Op store = {};
    store.nr = SYS_gettid;
    store.at = thread.clear_child_tid;
    store.flags = op_store | op_if_set;
    program.add(store);
  }
  if (thread.rseq_bytes != 0) {
    program.op(SYS_rseq, thread.rseq, thread.rseq_bytes, 0, thread.rseq_signature);
  }
}

/// The mutexes that it held are its own under its new number too. After write_thread_memory, and
/// before its first instruction.
inline void write_held_locks(const DescriptorView& view, std::size_t thread,
                             ProgramWriter& program) {
  for (const descriptor::HeldLockRecord& lock : view.held_locks()) {
    if (lock.thread != thread || !is_writable(view, lock.address, sizeof(std::uint32_t))) continue;
    Op store = {};
    store.nr = SYS_gettid;
    store.at = lock.address;
    store.flags = op_store | op_if_set;
    program.add(store);
  }
}

}  // namespace mitosis::restore
