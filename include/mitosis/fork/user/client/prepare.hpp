// SPDX-License-Identifier: MIT
// Prepare: a program makes itself resumable, the story of its side. World: user.
// Only the clone() and the agent's check need the program to wait, and they run side by side on two
// cores; everything else is done before, by the shadow, or by the agent afterwards. A program with
// several threads is captured by the agent, since none of them could stop the others.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/random.h>

#include <mitosis/fork/user/client/connections.hpp>
#include <mitosis/fork/user/client/has_seccomp_filters.hpp>
#include <mitosis/fork/user/client/has_threads.hpp>
#include <mitosis/fork/user/client/hooks.hpp>
#include <mitosis/fork/user/client/identity.hpp>
#include <mitosis/fork/user/client/own_fds.hpp>
#include <mitosis/fork/user/client/renew.hpp>
#include <mitosis/fork/user/client/requests.hpp>
#include <mitosis/fork/user/client/resumed.hpp>
#include <mitosis/fork/user/client/shadow.hpp>
#include <mitosis/fork/user/client/shadows.hpp>
#include <mitosis/fork/user/local/caller_thread.hpp>
#include <mitosis/fork/user/local/prepare.hpp>

#include <string>
#include <utility>
#include <vector>

namespace mitosis::client {

/// Which of the two the caller is after prepare returns. A child has no key: it is not prepared.
struct PrepareOutcome {
  bool child = false;
  AuthKey key;
  Generation generation{};
  std::vector<std::string> dropped;  ///< local::prepare_lossy: what does not come along
};

/// How long a prepare waits for the agent before it gives up, with nothing left behind.
inline constexpr std::chrono::milliseconds prepare_patience{10000};

namespace detail {

/// What the caller wants; the nonce is drawn. Sees to it that one more shadow can be remembered.
inline Result<local::Prepare> make_request(HandlerId handler, const char* policy,
                                           std::uint32_t flags) {
  if (!shadows().room()) shadows().reap();
  if (!shadows().room()) {
    return Error(Errc::limit_exceeded, "256 handlers of this process are prepared already");
  }
  local::Prepare request;
  request.handler = handler;
  request.policy = policy != nullptr ? policy : "";
  if (::getrandom(&request.nonce, sizeof(request.nonce), 0) != sizeof(request.nonce)) {
    return Error(Errc::system_call_failed, "getrandom", errno);
  }
  request.own_fds = own_fds();
  request.flags = flags;
  randomness().find();
  return request;
}

/// Blocks all signals of the calling thread; the mask before.
inline std::uint64_t block_signals() noexcept {
  const std::uint64_t all = ~std::uint64_t{0};
  std::uint64_t before = 0;
  (void)arch::raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
  return before;
}
inline void set_signal_mask(std::uint64_t mask) noexcept {
  (void)arch::raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, nullptr, 8);
}

/// Sends the request, so that the agent's check runs while this process is cloned. Signals are
/// blocked on success, with the mask before in `orders`: no handler may run in the shadow.
inline Result<void> announce(int sd, HandlerId handler, const char* policy, std::uint32_t flags,
                             ShadowOrders& orders) {
  const Result<local::ChannelView> channel = connections().use(sd);
  if (!channel) return channel.error();
  const Result<local::Prepare> request = make_request(handler, policy, flags);
  if (!request) return request.error();
  Result<sockaddr_un> agent = local::detail::socket_address(connections().path());
  if (!agent) return agent.error();
  orders.nonce = request->nonce;
  orders.agent = *agent;
  orders.thread = thread_pointers();
  orders.signal_mask = block_signals();
  // Not later: what it opens meanwhile is not the program's, and the agent will look.
  read_before_clone(orders.process);
  Result<void> sent = channel->send(*request, local::within(prepare_patience));
  if (!sent) {
    set_signal_mask(orders.signal_mask);
    connections().abandon(sd);
  }
  return sent;
}

/// Sends the request of a process with several threads: in a child, this one goes on at `context`,
/// with `signal_mask`.
inline Result<void> ask_for_capture(int sd, HandlerId handler, const char* policy,
                                    std::uint32_t flags, const arch::Context& context,
                                    std::uint64_t signal_mask) {
  const Result<local::ChannelView> channel = connections().use(sd);
  if (!channel) return channel.error();
  Result<local::Prepare> request = make_request(handler, policy, flags);
  if (!request) return request.error();
  local::CallerThread caller;
  arch::write_registers(context, caller.thread);
  arch::write_xstate(context, caller.xstate);
  caller.thread.xstate_bytes = arch::minimal_xstate_bytes;
  caller.thread.signal_mask = signal_mask;
  request->caller = local::bytes_of(caller);
  Result<void> sent = channel->send(*request, local::within(prepare_patience));
  if (!sent) connections().abandon(sd);
  return sent;
}

/// The agent's answer. Slept for, not polled: the agent's thread was put on this core by our
/// message, and runs as soon as we let go of it.
/// The agent may capture this thread while it waits; nothing is allocated until the answer is
/// there.
inline Result<PrepareOutcome> await_answer(int sd) {
  Result<local::Packet> packet = connections().receive(sd, local::within(prepare_patience));
  if (!packet) return packet.error();
  const auto answer = local::decode_reply<local::Prepared>(Bytes(packet->bytes));
  if (!answer) return answer.error();
  if (answer->shadow > 0) shadows().remember(answer->shadow);
  return PrepareOutcome{false, answer->key, answer->generation, answer->dropped};
}

/// In a child, wherever it runs: what the library remembers is the parent's.
/// `birth`: what the restorer has told, or null.
inline PrepareOutcome become_child(const local::Birth* birth) noexcept {
  leave_the_parent(birth);
  randomness().renew();
  return PrepareOutcome{true, {}, {}, {}};
}

/// What prepare does between the callbacks.
[[gnu::noinline]] inline Result<PrepareOutcome> fork_off(int sd, HandlerId handler,
                                                         const char* policy, std::uint32_t flags) {
  // 1. The agent starts to look at this process.
  ShadowOrders orders;
  Result<void> announced = announce(sd, handler, policy, flags, orders);
  if (!announced) return announced.error().of_handler(handler).in("prepare");

  // 2. Here the children go on.
  arch::Context context;
  const arch::Saved saved = arch::context_save(&context);
  if (saved.child != 0) {
    return become_child(static_cast<const local::Birth*>(arch::told_birth(saved)));
  }

  // 3. The frozen copy. Exit signal 0: the program's own waits do not see it.
  const long shadow = arch::raw_syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (shadow == 0) live_as_shadow(orders, context);
  set_signal_mask(orders.signal_mask);

  // 4. The agent's word. With a refusal the shadow goes; without a shadow the handler goes.
  shadows().reap();  // here, because the agent is still looking at this process
  Result<PrepareOutcome> outcome = await_answer(sd);
  if (shadow < 0) {
    if (outcome) (void)reclaim(sd, handler);
    outcome = Error(Errc::system_call_failed, "clone", static_cast<int>(-shadow));
  } else if (!outcome) {
    Shadows::kill_now(static_cast<pid_t>(shadow));
  } else {
    shadows().remember(static_cast<pid_t>(shadow));
  }
  if (!outcome) outcome.error().of_handler(handler).in("prepare");
  return outcome;
}

/// The same where there are other threads: the agent stops them all, and makes the shadow.
[[gnu::noinline]] inline Result<PrepareOutcome> be_captured(int sd, HandlerId handler,
                                                            const char* policy,
                                                            std::uint32_t flags) {
  // No handler may be half-way on this thread: in a child it is moved to where the children go on.
  const std::uint64_t mask = block_signals();
  arch::Context context;
  const arch::Saved saved = arch::context_save(&context);
  if (saved.child != 0) {
    return become_child(static_cast<const local::Birth*>(arch::told_birth(saved)));
  }
  Result<void> asked = ask_for_capture(sd, handler, policy, flags, context, mask);
  Result<PrepareOutcome> outcome = asked ? await_answer(sd) : Result<PrepareOutcome>(asked.error());
  set_signal_mask(mask);
  shadows().reap();
  if (!outcome) outcome.error().of_handler(handler).in("prepare");
  return outcome;
}

}  // namespace detail

/// Prepares the calling process, with all its threads, under `handler` (unique on this machine
/// until reclaimed) with the policy of that name (null: the agent's default). Returns once in the
/// parent, with the key, and once in every child that is ever resumed from it, there with `child`
/// set; the other threads go on where they stand. After an error nothing has changed. Signal
/// handlers may run meanwhile, on this thread only where it is the only one.
/// `flags`: local::PrepareFlag. The registered callbacks (hooks.hpp) run before and after it.
inline Result<PrepareOutcome> prepare(int sd, HandlerId handler, const char* policy,
                                      std::uint32_t flags = 0) {
  hooks().run_before();
  Result<PrepareOutcome> outcome = has_threads() || has_seccomp_filters()
                                       ? detail::be_captured(sd, handler, policy, flags)
                                       : detail::fork_off(sd, handler, policy, flags);
  if (outcome && outcome->child) {
    hooks().run_child();
  } else {
    hooks().run_parent();
  }
  return outcome;
}

}  // namespace mitosis::client
