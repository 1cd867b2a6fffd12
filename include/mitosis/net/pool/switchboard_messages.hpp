// SPDX-License-Identifier: MIT
// Switchboard: what other pools say, and what the device has done. World: user. Included by
// switchboard.hpp only.
#pragma once

#include <mitosis/net/pool/switchboard.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mitosis::pool {

template <class Links>
void Switchboard<Links>::on_message(MachineId peer, Bytes bytes) {
  Message message;
  Bytes payload;
  if (!decode(bytes, message, payload)) return;
  const ServiceName name{peer, message.service};
  switch (message.kind) {
    case Kind::find: {
      const auto service = services_.find(message.service);
      Message answer;
      answer.service = message.service;
      answer.kind = service == services_.end() ? Kind::missing : Kind::found;
      if (service != services_.end()) {
        answer.address = service->second.region.address;
        answer.bytes = service->second.region.bytes;
        answer.remote_key = service->second.region.remote_key;
        service->second.known_to.insert(peer);
        processes_[service->second.process].unforgotten.insert(name);
      }
      return say(peer, answer);
    }
    case Kind::found:
    case Kind::missing: {
      const auto known = known_.find(name);
      if (known == known_.end()) return;
      known->second.found = message.kind == Kind::found;
      known->second.region = Region{message.address, message.bytes, message.remote_key};
      const Asking asking = take_asking(known->second);
      for (const auto& [id, cookie] : asking) {
        if (message.kind == Kind::found) {
          make_queue(id, cookie, name, known->second);
        } else {
          tell(id, cookie, Op::connect, Errc::unknown_handler);
        }
      }
      if (message.kind == Kind::missing) known_.erase(known);
      return;
    }
    case Kind::gone: {
      const auto known = known_.find(name);
      if (known != known_.end()) {
        known->second.going = true;
        for (auto& [number, queue] : queues_) {
          if (queue.caller && queue.peer == peer && queue.service == message.service) {
            lose_queue(number, queue);
          }
        }
        return forget_if_done(name);
      }
      Message answer = message;
      answer.kind = Kind::forgotten;
      return say(peer, answer);
    }
    case Kind::forgotten:
      for (auto& [id, process] : processes_) {
        if (process.unforgotten.erase(name) > 0) return release_if_done(id);
      }
      return;
    case Kind::data:
      return on_data(peer, message, payload);
    case Kind::credit: {
      const auto found = queues_.find(message.to);
      if (found == queues_.end() || found->second.peer != peer) return;
      Queue& queue = found->second;
      queue.may_send = std::min<std::uint32_t>(queue.may_send + 1, credits);
      if (!queue.sends.empty() && !queue.lost) {
        const Waiting next = queue.sends.front();
        queue.sends.pop_front();
        send(message.to, queue, next);
      }
      return;
    }
    case Kind::closed: {
      const auto caller = callers_.find({peer, message.from});
      const bool named = message.to != 0 || caller == callers_.end();
      const std::uint32_t number = named ? message.to : caller->second;
      const auto found = queues_.find(number);
      if (found != queues_.end() && found->second.peer == peer) lose_queue(number, found->second);
      return;
    }
  }
}

template <class Links>
void Switchboard<Links>::on_data(MachineId peer, const Message& message, Bytes payload) {
  std::uint32_t number = message.to;
  if (number == 0) {  // a caller that has not heard from its queue here yet
    const auto known = callers_.find({peer, message.from});
    if (known != callers_.end()) number = known->second;
  }
  auto found = queues_.find(number);
  if (number == 0) {
    const auto service = services_.find(message.service);
    const bool room =
        service != services_.end() && processes_[service->second.process].queues < max_queues;
    if (room) {
      while (++last_queue_ == 0 || queues_.contains(last_queue_)) {
      }
      number = last_queue_;
      found = queues_.emplace(number, Queue{}).first;
      found->second.process = service->second.process;
      found->second.peer = peer;
      found->second.service = message.service;
      found->second.other = message.from;
      callers_[{peer, message.from}] = number;
      ++processes_[service->second.process].queues;
    }
  }
  if (found == queues_.end() || found->second.peer != peer) {
    Message closed;
    closed.kind = Kind::closed;
    closed.to = message.from;
    return say(peer, closed);
  }
  Queue& queue = found->second;
  if (queue.other == 0) queue.other = message.from;
  if (queue.lost || queue.backlog.size() >= credits || payload.size() > max_message) return;
  queue.backlog.emplace_back(payload.begin(), payload.end());
  Process& process = processes_[queue.process];
  process.arrived.push_back(number);
  deliver(queue.process, process);
}

template <class Links>
void Switchboard<Links>::on_transferred(std::uint64_t tag, Errc status) {
  const auto found = flights_.find(tag);
  if (found == flights_.end()) return;
  const Flight flight = found->second;
  flights_.erase(found);
  tell(flight.process, flight.cookie, flight.op, status, flight.queue);
  const auto process = processes_.find(flight.process);
  if (process != processes_.end()) --process->second.transfers;
  if (const auto known = known_.find(flight.service); known != known_.end()) {
    --known->second.transfers;
    if (known->second.going) forget_if_done(flight.service);
  }
  release_if_done(flight.process);
}

}  // namespace mitosis::pool
