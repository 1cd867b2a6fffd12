// SPDX-License-Identifier: MIT
// Switchboard: what processes ask for. World: user. Included by switchboard.hpp only.
#pragma once

#include <mitosis/net/pool/switchboard.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

namespace mitosis::pool {

template <class Links>
bool Switchboard<Links>::step() {
  bool any = false;
  for (auto& [id, process] : processes_) {
    Request request;
    for (std::uint32_t n = 0; !process.dead && n < 64 && process.area->requests.pop(request); ++n) {
      any = true;
      carry_out(id, process, request);
    }
  }
  return any;
}

template <class Links>
void Switchboard<Links>::carry_out(ProcessId id, Process& process, const Request& request) {
  const auto refuse = [&](Errc why) { tell(id, request.cookie, request.op, why, request.queue); };
  const bool has_data = request.op == Op::read || request.op == Op::write ||
                        request.op == Op::send || request.op == Op::receive ||
                        request.op == Op::listen;
  if (has_data && !within(request.offset, request.bytes, process.data.size())) {
    return refuse(Errc::invalid_argument);
  }
  switch (request.op) {
    case Op::connect:
      return connect(id, request);
    case Op::listen: {
      if (process.services >= max_services) return refuse(Errc::limit_exceeded);
      Region region = links_->region(id);
      region.address += request.offset;
      region.bytes = request.bytes;
      if (request.service == 0 ||
          !services_.try_emplace(request.service, Service{id, region, {}}).second) {
        return refuse(Errc::handler_in_use);
      }
      ++process.services;
      return tell(id, request.cookie, request.op, Errc::ok);
    }
    case Op::receive:
      if (process.receives.size() >= max_requests) return refuse(Errc::limit_exceeded);
      process.receives.push_back({request.cookie, request.offset, request.bytes});
      return deliver(id, process);
    case Op::read:
    case Op::write:
    case Op::send:
    case Op::close: {
      Queue* const queue = queue_of(id, request.queue);
      if (queue == nullptr) return refuse(Errc::invalid_argument);
      if (request.op == Op::close) {
        erase_queue(request.queue, /*tell_peer=*/true);
        return refuse(Errc::ok);
      }
      if (queue->lost) return refuse(Errc::connection_lost);
      if (request.op != Op::send) return transfer(id, process, *queue, request);
      if (request.bytes > max_message) return refuse(Errc::limit_exceeded);
      if (queue->sends.size() >= max_requests) return refuse(Errc::limit_exceeded);
      queue->sends.push_back({request.cookie, request.offset, request.bytes});
      while (queue->may_send > 0 && !queue->sends.empty()) {
        send(request.queue, *queue, queue->sends.front());
        queue->sends.pop_front();
      }
      return;
    }
  }
  refuse(Errc::invalid_argument);
}

template <class Links>
void Switchboard<Links>::connect(ProcessId id, const Request& request) {
  const MachineId peer{request.machine};
  const auto process = processes_.find(id);
  if (process == processes_.end() || process->second.dead) return;
  if (process->second.queues >= max_queues || process->second.connects >= max_requests) {
    return tell(id, request.cookie, Op::connect, Errc::limit_exceeded);
  }
  if (!links_->up(peer)) return tell(id, request.cookie, Op::connect, Errc::machine_unreachable);
  const ServiceName name{peer, request.service};
  Known& known = known_[name];
  if (known.found && !known.going) return make_queue(id, request.cookie, name, known);
  known.asking.emplace_back(id, request.cookie);
  ++process->second.connects;
  if (known.asking.size() > 1 || known.going) return;  // asked, or asked once it is forgotten
  Message find;
  find.kind = Kind::find;
  find.service = request.service;
  say(peer, find);
}

/// Those that wait to hear of a service wait no more.
template <class Links>
auto Switchboard<Links>::take_asking(Known& known) -> Asking {
  for (const auto& [id, cookie] : known.asking) {
    const auto process = processes_.find(id);
    if (process != processes_.end()) --process->second.connects;
  }
  return std::exchange(known.asking, {});
}

template <class Links>
void Switchboard<Links>::make_queue(ProcessId id, std::uint64_t cookie, const ServiceName& name,
                                    const Known& known) {
  const auto process = processes_.find(id);
  if (process == processes_.end() || process->second.dead) return;
  ++process->second.queues;
  while (++last_queue_ == 0 || queues_.contains(last_queue_)) {
  }
  Queue& queue = queues_[last_queue_];
  queue.process = id;
  queue.peer = name.first;
  queue.service = name.second;
  queue.caller = true;
  tell(id, cookie, Op::connect, Errc::ok, last_queue_,
       static_cast<std::uint32_t>(std::min<std::uint64_t>(known.region.bytes, ~0u)));
}

template <class Links>
void Switchboard<Links>::transfer(ProcessId id, Process& process, Queue& queue,
                                  const Request& request) {
  const ServiceName name{queue.peer, queue.service};
  const auto known = known_.find(name);
  if (!queue.caller || known == known_.end() || !known->second.found) {
    return tell(id, request.cookie, request.op, Errc::not_permitted, request.queue);
  }
  const Region& region = known->second.region;
  if (request.bytes == 0 || !within(request.remote, request.bytes, region.bytes)) {
    return tell(id, request.cookie, request.op, Errc::invalid_argument, request.queue);
  }
  if (process.transfers >= max_requests) {
    return tell(id, request.cookie, request.op, Errc::limit_exceeded, request.queue);
  }
  ++process.transfers;
  ++known->second.transfers;
  flights_[++last_tag_] = Flight{name, id, request.queue, request.cookie, request.op};
  links_->transfer(queue.peer,
                   Transfer{last_tag_, request.op == Op::write, id, request.offset, request.bytes,
                            region.address + request.remote, region.remote_key});
}

/// A message goes, and its request ends: the bytes have been copied.
template <class Links>
void Switchboard<Links>::send(std::uint32_t number, Queue& queue, const Waiting& message) {
  Message data;
  data.kind = Kind::data;
  data.from = number;
  data.to = queue.other;
  data.service = queue.service;
  const Process& process = processes_[queue.process];
  say(queue.peer, data, Bytes(process.data.data() + message.offset, message.bytes));
  --queue.may_send;
  tell(queue.process, message.cookie, Op::send, Errc::ok, number, message.bytes);
}

/// Gives what has come to the receives that wait for it, oldest first.
template <class Links>
void Switchboard<Links>::deliver(ProcessId id, Process& process) {
  while (!process.receives.empty() && !process.arrived.empty()) {
    const std::uint32_t number = process.arrived.front();
    process.arrived.pop_front();
    const auto found = queues_.find(number);
    if (found == queues_.end()) continue;
    Queue& queue = found->second;
    if (queue.backlog.empty()) {  // behind the last message: the queue's end
      if (!queue.lost || std::exchange(queue.end_told, true)) continue;
      tell(id, process.receives.front().cookie, Op::receive, Errc::connection_lost, number);
      process.receives.pop_front();
      continue;
    }
    const std::vector<std::uint8_t> bytes = std::move(queue.backlog.front());
    queue.backlog.pop_front();
    const Waiting receive = process.receives.front();
    process.receives.pop_front();
    const bool fits = bytes.size() <= receive.bytes;
    if (fits) std::copy(bytes.begin(), bytes.end(), process.data.data() + receive.offset);
    tell(id, receive.cookie, Op::receive, fits ? Errc::ok : Errc::limit_exceeded, number,
         static_cast<std::uint32_t>(bytes.size()));
    Message credit;
    credit.kind = Kind::credit;
    credit.to = queue.other;
    credit.bytes = 1;
    say(queue.peer, credit);
  }
}

}  // namespace mitosis::pool
