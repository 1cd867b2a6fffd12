// SPDX-License-Identifier: MIT
// Switchboard: how queues, services, processes and links end. World: user. Included by
// switchboard.hpp only.
#pragma once

#include <mitosis/net/pool/switchboard.hpp>

#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::pool {

template <class Links>
void Switchboard<Links>::lose_queue(std::uint32_t number, Queue& queue) {
  if (queue.lost) return;
  queue.lost = true;
  for (const Waiting& waiting : std::exchange(queue.sends, {})) {
    tell(queue.process, waiting.cookie, Op::send, Errc::connection_lost, number);
  }
  const auto process = processes_.find(queue.process);
  if (process == processes_.end() || process->second.dead) return;
  process->second.arrived.push_back(number);
  deliver(queue.process, process->second);
}

template <class Links>
void Switchboard<Links>::erase_queue(std::uint32_t number, bool tell_peer) {
  const auto found = queues_.find(number);
  if (found == queues_.end()) return;
  Queue& queue = found->second;
  const bool told = queue.lost;
  queue.end_told = true;
  lose_queue(number, queue);
  if (tell_peer && !told) {
    Message closed;
    closed.kind = Kind::closed;
    closed.to = queue.other;
    closed.from = number;  // where the other end's number is not known here
    say(queue.peer, closed);
  }
  callers_.erase({queue.peer, queue.other});
  --processes_[queue.process].queues;
  queues_.erase(found);
}

/// A service of another machine that has ended: once nothing of it is being transferred.
template <class Links>
void Switchboard<Links>::forget_if_done(const ServiceName& name) {
  const auto found = known_.find(name);
  if (found == known_.end() || !found->second.going || found->second.transfers > 0) return;
  const Asking asking = take_asking(found->second);
  known_.erase(found);
  Message forgotten;
  forgotten.kind = Kind::forgotten;
  forgotten.service = name.second;
  say(name.first, forgotten);
  for (const auto& [id, cookie] : asking) {
    Request again;
    again.cookie = cookie;
    again.machine = static_cast<std::uint32_t>(name.first);
    again.service = name.second;
    connect(id, again);
  }
}

template <class Links>
void Switchboard<Links>::release_if_done(ProcessId id) {
  const auto found = processes_.find(id);
  if (found == processes_.end()) return;
  const Process& process = found->second;
  if (!process.dead || process.transfers > 0 || !process.unforgotten.empty()) return;
  processes_.erase(found);
  links_->release(id);
}

template <class Links>
void Switchboard<Links>::detach(ProcessId id) {
  const auto found = processes_.find(id);
  if (found == processes_.end() || found->second.dead) return;
  Process& process = found->second;
  process.dead = true;
  std::vector<std::uint32_t> mine;
  for (const auto& [number, queue] : queues_) {
    if (queue.process == id) mine.push_back(number);
  }
  for (const std::uint32_t number : mine) erase_queue(number, /*tell_peer=*/true);
  for (auto service = services_.begin(); service != services_.end();) {
    if (service->second.process != id) {
      ++service;
      continue;
    }
    for (const MachineId peer : service->second.known_to) {
      Message gone;
      gone.kind = Kind::gone;
      gone.service = service->first;
      say(peer, gone);
    }
    service = services_.erase(service);
  }
  release_if_done(id);
}

template <class Links>
void Switchboard<Links>::on_link_lost(MachineId peer) {
  std::vector<std::uint64_t> lost;
  for (const auto& [tag, flight] : flights_) {
    if (flight.service.first == peer) lost.push_back(tag);
  }
  for (const std::uint64_t tag : lost) on_transferred(tag, Errc::connection_lost);
  for (auto& [number, queue] : queues_) {
    if (queue.peer == peer) lose_queue(number, queue);
  }
  std::erase_if(callers_, [peer](const auto& entry) { return entry.first.first == peer; });
  for (auto at = known_.begin(); at != known_.end();) {
    if (at->first.first != peer) {
      ++at;
      continue;
    }
    for (const auto& [id, cookie] : take_asking(at->second)) {
      tell(id, cookie, Op::connect, Errc::machine_unreachable);
    }
    at = known_.erase(at);
  }
  // What it might have read of us it cannot any more: its connection is gone.
  std::vector<ProcessId> touched;
  for (auto& [id, process] : processes_) {
    if (std::erase_if(process.unforgotten,
                      [peer](const ServiceName& name) { return name.first == peer; }) > 0) {
      touched.push_back(id);
    }
  }
  for (auto& [number, service] : services_) service.known_to.erase(peer);
  for (const ProcessId id : touched) release_if_done(id);
}

}  // namespace mitosis::pool
