// SPDX-License-Identifier: MIT
// What the shadow does: report to the agent, let go of everything, wait for its end. World: user.
// It is a copy of an arbitrary program, and its memory is what the children will get: no libc
// state is touched, nothing is allocated, only its own stack below the prepare call is written.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <mitosis/fork/user/arch/arch.hpp>
#include <mitosis/fork/user/client/process_state.hpp>
#include <mitosis/fork/user/client/thread_pointers.hpp>
#include <mitosis/fork/user/local/packet.hpp>
#include <mitosis/fork/user/local/shadow_facts.hpp>

#include <cstdint>

namespace mitosis::client {

/// All that the shadow needs, gathered by the parent before the clone.
struct ShadowOrders {
  std::uint64_t nonce = 0;
  std::uint64_t signal_mask = 0;  ///< as the program had it
  ThreadPointers thread;
  local::ProcessFacts process;  ///< the half that a clone forgets
  sockaddr_un agent = {};
};

/// A ShadowReady as encode_packet would write it; the shadow cannot run an encoder that allocates.
/// A test compares the two.
struct ShadowPacket {
  std::uint32_t header = static_cast<std::uint32_t>(local::LocalType::shadow_ready) |
                         std::uint32_t{local::protocol_version} << 16;
  std::uint32_t nonce_low = 0, nonce_high = 0;  // halves: the wire has no padding before it
  std::uint32_t facts_bytes = sizeof(local::ShadowFacts);
  local::ShadowFacts facts;
};
static_assert(sizeof(ShadowPacket) == 16 + sizeof(local::ShadowFacts));

namespace detail {

/// Fills in what the descriptor needs of this process and no other can see.
inline void gather(const ShadowOrders& orders, const arch::Context& context,
                   local::ShadowFacts& facts) noexcept {
  using arch::raw_syscall;
  facts.bytes = sizeof(facts);
  facts.brk = static_cast<std::uint64_t>(raw_syscall(SYS_brk, 0));
  descriptor::ThreadRecord& thread = facts.thread;
  arch::write_registers(context, thread);
  arch::write_xstate(context, facts.xstate);
  static_assert(arch::minimal_xstate_bytes <= local::facts_xstate_bytes);
  thread.xstate_bytes = arch::minimal_xstate_bytes;
  thread.signal_mask = orders.signal_mask;
  stack_t alternate;
  if (raw_syscall(SYS_sigaltstack, nullptr, &alternate) == 0) {
    thread.altstack_base = reinterpret_cast<std::uint64_t>(alternate.ss_sp);
    thread.altstack_bytes = alternate.ss_size;
    thread.altstack_flags = static_cast<std::uint32_t>(alternate.ss_flags);
  }
  thread.robust_list = orders.thread.robust_list;
  thread.robust_list_bytes = orders.thread.robust_list_bytes;
  thread.clear_child_tid = orders.thread.clear_child_tid;
  thread.rseq = orders.thread.rseq;
  thread.rseq_bytes = orders.thread.rseq_bytes;
  thread.rseq_signature = arch::rseq_signature;
  thread.tid = orders.thread.tid;
  (void)raw_syscall(SYS_prctl, PR_GET_NAME, thread.name, 0, 0, 0);
  facts.process = orders.process;
  read_in_copy(facts.process);
  for (long signal = 1; signal <= 64; ++signal) {
    (void)raw_syscall(SYS_rt_sigaction, signal, nullptr, &facts.sigactions[signal - 1], 8);
  }
}

}  // namespace detail

/// The shadow's life. All signals must be blocked already. Never returns, and exits with 0 when
/// the agent lets go of the lifeline (reclaim, refusal, the agent's end).
[[noreturn, gnu::noinline]] inline void live_as_shadow(const ShadowOrders& orders,
                                                       const arch::Context& context) noexcept {
  using arch::raw_syscall;
  // 1. Nobody else's pipe or socket may depend on the shadow.
  (void)raw_syscall(SYS_close_range, 0u, ~0u, 0);
  // 2. What only this process can tell. Before the agent is woken: it is busy with the parent.
  ShadowPacket packet;
  packet.nonce_low = static_cast<std::uint32_t>(orders.nonce);
  packet.nonce_high = static_cast<std::uint32_t>(orders.nonce >> 32);
  detail::gather(orders, context, packet.facts);
  (void)raw_syscall(SYS_prctl, PR_SET_NAME, "mitosis-shadow", 0, 0, 0);
  // 3. The lifeline. A full backlog must not hold a forgotten shadow for ever.
  const long lifeline = raw_syscall(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  const timeval patience = {10, 0};
  (void)raw_syscall(SYS_setsockopt, lifeline, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  if (raw_syscall(SYS_connect, lifeline, &orders.agent, sizeof(orders.agent)) == 0) {
    const long sent =
        raw_syscall(SYS_sendto, lifeline, &packet, sizeof(packet), MSG_NOSIGNAL, nullptr, 0);
    // 4. Nor a terminal. Not before: a new session is a new group to the scheduler (sched(7),
    // autogroup), which on a busy machine may wait for seconds until it runs at all.
    (void)raw_syscall(SYS_setsid);
    // 5. Nothing but waiting for the end.
    char ignored[8];
    while (sent == static_cast<long>(sizeof(packet))) {
      const long n = raw_syscall(SYS_read, lifeline, ignored, sizeof(ignored));
      if (n <= 0 && n != -EINTR) break;
    }
  }
  for (;;) (void)raw_syscall(SYS_exit_group, 0);
}

}  // namespace mitosis::client
