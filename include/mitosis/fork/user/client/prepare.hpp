// SPDX-License-Identifier: MIT
// Prepare: a program makes itself resumable, the story of its side. World: user.
// Only the clone() and the agent's check need the program to wait, and they run side by side on two
// cores; everything else is done before, by the shadow, or by the agent afterwards.
#pragma once

#include <sched.h>
#include <signal.h>
#include <sys/random.h>

#include <mitosis/fork/user/client/connections.hpp>
#include <mitosis/fork/user/client/shadow.hpp>
#include <mitosis/fork/user/client/shadows.hpp>
#include <mitosis/fork/user/local/prepare.hpp>

#include <string>
#include <utility>

namespace mitosis::client {

/// Which of the two the caller is after prepare returns. A child has no key: it is not prepared.
struct PrepareOutcome {
  bool child = false;
  AuthKey key;
  Generation generation{};
};

/// How long a prepare waits for the agent before it gives up, with nothing left behind.
inline constexpr std::chrono::milliseconds prepare_patience{10000};
/// How long it polls for the answer before it sleeps: a wake-up costs more than the rest of it.
inline constexpr std::chrono::microseconds prepare_spin{150};

namespace detail {

/// Sends the request, so that the agent's check runs while this process is cloned. Signals are
/// blocked on success, with the mask before in `orders`: no handler may run in the shadow.
inline Result<local::ChannelView> announce(int sd, HandlerId handler, const char* policy,
                                           ShadowOrders& orders) {
  Result<local::ChannelView> channel = connections().use(sd);
  if (!channel) return channel.error();
  shadows().reap();
  if (!shadows().room()) {
    return Error(Errc::limit_exceeded, "256 handlers of this process are prepared already");
  }
  local::Prepare request;
  request.handler = handler;
  request.policy = policy != nullptr ? policy : "";
  if (::getrandom(&request.nonce, sizeof(request.nonce), 0) != sizeof(request.nonce)) {
    return Error(Errc::system_call_failed, "getrandom", errno);
  }
  connections().for_each([&](int fd) { request.own_fds.push_back(fd); });
  Result<sockaddr_un> agent = local::detail::socket_address(local::socket_path());
  if (!agent) return agent.error();
  orders.nonce = request.nonce;
  orders.agent = *agent;
  orders.thread = thread_pointers();
  const std::uint64_t all = ~std::uint64_t{0};
  (void)arch::raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &orders.signal_mask, 8);
  Result<void> sent = channel->send(request, local::within(prepare_patience));
  if (!sent) {
    (void)arch::raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &orders.signal_mask, nullptr, 8);
    return sent.error();
  }
  return channel;
}

/// The agent's answer.
inline Result<PrepareOutcome> await_answer(local::ChannelView channel) {
  const auto spin_end = std::chrono::steady_clock::now() + prepare_spin;
  char ignored;
  while (::recv(channel.fd(), &ignored, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN &&
         std::chrono::steady_clock::now() < spin_end) {
  }
  Result<local::Packet> packet = channel.receive(local::within(prepare_patience));
  Result<local::Prepared> answer =
      packet
          ? local::decode_reply<local::Prepared>(Bytes(packet->bytes.data(), packet->bytes.size()))
          : Result<local::Prepared>(packet.error());
  // An answer that comes too late must not be taken for the next request's.
  if (!packet) connections().abandon(channel.fd());
  if (!answer) return answer.error();
  return PrepareOutcome{false, answer->key, answer->generation};
}

/// Gives an accepted handler up again.
inline void withdraw(local::ChannelView channel, HandlerId handler) {
  local::Reclaim request;
  request.handler = handler;
  const auto done = channel.call<local::Done>(request, local::within(prepare_patience));
  if (!done) connections().abandon(channel.fd());
}

/// In a child, wherever it runs: what the library remembers is the parent's.
inline PrepareOutcome become_child() noexcept {
  connections().disown();
  shadows().forget();
  return PrepareOutcome{true, {}, {}};
}

}  // namespace detail

/// Prepares the calling process, which must have one thread, under `handler` (unique on this
/// machine until reclaimed) with the policy of that name (null: the agent's default). Returns
/// once in the parent, with the key, and once in every child that is ever resumed from it, there
/// with `child` set. After an error nothing has changed. Signal handlers may run meanwhile.
[[gnu::noinline]] inline Result<PrepareOutcome> prepare(int sd, HandlerId handler,
                                                        const char* policy) {
  // 1. The agent starts to look at this process.
  ShadowOrders orders;
  const Result<local::ChannelView> channel = detail::announce(sd, handler, policy, orders);
  if (!channel) return Error(channel.error()).of_handler(handler).in("prepare");

  // 2. Here the children go on.
  arch::Context context;
  if (arch::context_save(&context) != 0) return detail::become_child();

  // 3. The frozen copy. Exit signal 0: the program's own waits do not see it.
  const long shadow = arch::raw_syscall(SYS_clone, 0, 0, 0, 0, 0);
  if (shadow == 0) live_as_shadow(orders, context);
  (void)arch::raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, &orders.signal_mask, nullptr, 8);

  // 4. The agent's word. With a refusal the shadow goes; without a shadow the handler goes.
  Result<PrepareOutcome> outcome = detail::await_answer(*channel);
  if (shadow < 0) {
    if (outcome) detail::withdraw(*channel, handler);
    outcome = Error(Errc::system_call_failed, "clone", static_cast<int>(-shadow));
  } else if (!outcome) {
    Shadows::kill_now(static_cast<pid_t>(shadow));
  } else {
    shadows().remember(static_cast<pid_t>(shadow));
  }
  if (!outcome) outcome.error().of_handler(handler).in("prepare");
  return outcome;
}

}  // namespace mitosis::client
