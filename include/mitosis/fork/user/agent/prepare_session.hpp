// SPDX-License-Identifier: MIT
// Session: prepare, as the agent does it. World: user. Included by session.hpp only.
//
//   the parent's connection            the shadow's connection, its lifeline
//   1. reserve the handler
//   2. check the parent, while it clones
//   3. tell it: it goes on             4. take the shadow
//                                      5. ask its pager what ancestors hold, if it is a child
//                                      6. capture: mappings, pages, files -> descriptor
//                                      7. open the target, publish: it can be resumed
#pragma once

#include <sys/syscall.h>

#include <spdlog/spdlog.h>

#include <mitosis/fork/user/agent/dropped_words.hpp>
#include <mitosis/fork/user/agent/policy_choice.hpp>
#include <mitosis/fork/user/agent/process_owner.hpp>
#include <mitosis/fork/user/agent/session.hpp>
#include <mitosis/fork/user/capture/capture.hpp>

#include <cstring>

namespace mitosis::agent {

inline Result<void> Session::prepare(const local::Packet& packet) {
  auto message = local::decode_packet<local::Prepare>(Bytes(packet.bytes));
  if (!message) return message.error();
  const auto policy =
      detail::policy_of(message->policy, worker_.options.policy, worker_.rdma.get());
  if (!policy) return Error(policy.error()).of_handler(message->handler).in("prepare");

  if ((message->flags & local::prepare_keyless) != 0 && !worker_.options.keyless) {
    return Error(Errc::missing_privilege,
                 "a parent that needs no key; this machine's agent allows it with --keyless")
        .of_handler(message->handler)
        .in("prepare");
  }

  StepTimer timer(worker_.profile, policy->profile);

  // 1. Reserve the handler.
  auto parent =
      worker_.parents.reserve(message->handler, packet.sender.uid, packet.sender.pid,
                              std::string(format(*policy).c_str()), !policy->cow, message->flags);
  if (!parent) return parent.error();
  if (!message->caller.empty()) {
    auto prepared = capture_caller(packet, *message, *parent);
    if (!prepared) worker_.parents.abandon(*parent);
    if (!prepared) return Error(prepared.error()).of_handler(message->handler).in("prepare");
    timer.done("prepare.freeze");
    return reply(*prepared);
  }
  // 2. Check the parent, while it clones.
  auto facts = capture::check_parent(packet.sender.pid, message->own_fds,
                                     {.lossy = (message->flags & local::prepare_lossy) != 0,
                                      .shared_budget = worker_.budget_left()});
  if (auto r = check_owner(packet.sender.pid, packet.sender.uid); facts && !r) facts = r.error();
  if (!facts) {
    const Error why = Error(facts.error()).of_handler(message->handler);
    worker_.parents.abandon(*parent);
    worker_.prepares.refuse(message->nonce);
    return why;
  }
  timer.done("prepare.check");
  // 3. Tell it. First its shadow must be able to find it.
  const local::Prepared prepared{(*parent)->key, (*parent)->generation, 0,
                                 detail::told(facts->dropped)};
  worker_.prepares.offer(message->nonce,
                         {*parent, std::move(facts).value(), packet.sender.uid, {}, {}});
  return reply(prepared);
}

inline void Session::become_lifeline(const local::Packet& packet) {
  // 4. Take the shadow. A refused prepare has none: its parent ends it, or the connection's end.
  auto ready = local::decode_packet<local::ShadowReady>(Bytes(packet.bytes));
  if (!ready) return;
  auto pending =
      worker_.prepares.take(ready->nonce, packet.sender.uid, Clock::now() + step_deadline);
  if (!pending) return;
  if (auto r = capture(*pending, packet, *ready); !r) {
    const Error why = Error(r.error()).of_handler(pending->parent->handler);
    spdlog::warn("prepare failed: {}", describe(why));
    worker_.parents.fail(pending->parent, why);
    // Nobody will ever read from it.
    if (pending->parent->shadow_pidfd) {
      ::syscall(SYS_pidfd_send_signal, pending->parent->shadow_pidfd.get(), SIGKILL, nullptr, 0);
    }
  }
}

inline Result<void> Session::capture(PendingPrepare& pending, const local::Packet& packet,
                                     const local::ShadowReady& ready) {
  Parent& parent = *pending.parent;
  const auto policy = parse_policy(parent.policy.c_str(), parent.policy.size());
  StepTimer timer(worker_.profile, policy && policy->profile);
  parent.shadow_pid = packet.sender.pid;
  parent.shadow_pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, parent.shadow_pid, 0)));
  if (!parent.shadow_pidfd) return Error(Errc::child_died, "the shadow").in("capture");
  if (auto r = check_owner(parent.shadow_pid, parent.uid); !r) {
    parent.shadow_pidfd.reset();  // not ours to end
    return r;
  }
  local::ShadowFacts seen;
  if (ready.facts.size() != sizeof seen) {
    return Error(Errc::protocol_mismatch, "the shadow's report").in("capture");
  }
  std::memcpy(&seen, ready.facts.data(), sizeof seen);
  if (!pending.frozen.threads.empty()) {  // it was asked, its shadow was not
    seen.process = pending.frozen.process;
    seen.process.pending_signals = pending.facts.thread_signals | pending.facts.process_signals;
  }

  // 5. What ancestors hold.
  Ancestry ancestry;
  for (const auto& pager : worker_.pagers) {
    auto held = pager->ancestry_of_fork(static_cast<std::uint32_t>(parent.pid),
                                        static_cast<std::uint32_t>(parent.shadow_pid));
    if (!held) return held.error().in("capture");
    ancestry = std::move(held).value();
    if (ancestry.image != nullptr) break;
  }
  std::vector<descriptor::OwnerRecord> owners;
  std::vector<capture::RemoteRun> runs;
  if (ancestry.image != nullptr) {
    for (const descriptor::OwnerRecord owner : ancestry.image->view().owners()) {
      owners.push_back(owner);
    }
    for (const Ancestry::Run& run : ancestry.runs) {
      runs.push_back({run.pages, run.source, static_cast<std::uint16_t>(run.owner + 1)});
    }
  }

  // 6. Capture.
  auto target = draw_target(worker_.targets);
  if (!target) return target.error();
  capture::CaptureRequest request;
  request.shadow = parent.shadow_pid;
  request.handler = parent.handler;
  request.generation = parent.generation;
  request.self.machine = static_cast<std::uint32_t>(worker_.options.machine);
  request.self.target_number = target->number;
  request.self.target_key = target->key;
  request.self.handler = static_cast<std::uint64_t>(parent.handler);
  request.self.generation = static_cast<std::uint64_t>(parent.generation);
  const std::string advertised = worker_.advertised();
  advertised.copy(request.self.address, sizeof request.self.address - 1);
  request.ancestry = {Span<const descriptor::OwnerRecord>(owners),
                      Span<const capture::RemoteRun>(runs)};
  request.threads = Span<const capture::ThreadState>(pending.frozen.threads);
  request.tree = Span<const descriptor::MemberRecord>(pending.tree);
  request.hidden_start = pending.frozen.hidden_start;
  request.hidden_end = pending.frozen.hidden_end;
  request.by_pid = pending.by_pid;
  request.unmarked = Span<const capture::MarkedRange>(pending.frozen.unmarked);
  auto captured = capture::capture_shadow(request, pending.facts, seen);
  if (!captured) return captured.error();

  timer.done("prepare.capture");
  // 7. Open the target and publish.
  parent.target = *target;
  parent.shared_fd = pending.facts.shared.take_image();
  auto pages =
      agent::serve(worker_.targets, parent, captured->descriptor, *target, worker_.budget_left());
  if (!pages) {
    parent.target = {};
    return pages.error();
  }
  // All of it was opened by now; nobody else's memory came in between.
  if (auto r = check_owner(parent.shadow_pid, parent.uid); !r) {
    worker_.targets.revoke(target->number);
    parent.target = {};
    return r;
  }
  parent.pages = *pages;
  parent.ancestor = ancestry.image;
  parent.descriptor =
      std::make_shared<const std::vector<std::uint8_t>>(std::move(captured->descriptor));
  if (parent.copy) {  // the image serves from now on; the parent pays for no shadow
    ::syscall(SYS_pidfd_send_signal, parent.shadow_pidfd.get(), SIGKILL, nullptr, 0);
  }
  parent.lifeline = UniqueFd(channel_.release());
  worker_.parents.publish(pending.parent);
  timer.done("prepare.open");
  return {};
}

}  // namespace mitosis::agent
