// SPDX-License-Identifier: MIT
// Switchboard: what a machine's connection pool decides: who is connected with whom over the few
// connections that it holds, who may send, what of a region may be touched. World: user; no I/O.
// A process that misbehaves or dies hurts nobody else: its requests are checked here, and memory
// that others may be reading is let go only when they have said that they do not.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/net/pool/area.hpp>
#include <mitosis/net/pool/message.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace mitosis::pool {

using ProcessId = std::uint32_t;

/// What one process exposes to others, as peers address it.
struct Region {
  std::uint64_t address = 0;
  std::uint64_t bytes = 0;
  std::uint32_t remote_key = 0;
};

/// One one-sided transfer. It ends in `Switchboard::on_transferred` with the same tag.
struct Transfer {
  std::uint64_t tag = 0;
  bool write = false;
  ProcessId process = 0;  ///< whose data
  std::uint64_t offset = 0;
  std::uint32_t bytes = 0;
  std::uint64_t remote_address = 0;
  std::uint32_t remote_key = 0;
};

/// `Links` carries it out: `up(machine)`, `send(machine, bytes)` (in order, reliably, while it is
/// up), `transfer(machine, Transfer)`, `region(process)` (all of its data, as peers address it),
/// `release(process)` (its memory is needed no more).
template <class Links>
class Switchboard {
 public:
  static constexpr std::uint32_t credits = 16;  ///< messages of a queue that nobody has taken yet
  static constexpr std::size_t max_queues = 1024;  ///< of a process
  static constexpr std::size_t max_services = 64;  ///< of a process

  explicit Switchboard(Links& links) : links_(&links) {}

  /// `area` and `data` must stay mapped until `release(process)`.
  void attach(ProcessId id, Area& area, MutableBytes data) {
    Process& process = processes_[id];
    process.area = &area;
    process.data = data;
  }
  /// The process has gone.
  void detach(ProcessId id);
  /// Takes the requests of all processes; true where there were any.
  bool step();
  /// Whether no process waits to be served.
  [[nodiscard]] bool idle() const {
    return std::all_of(processes_.begin(), processes_.end(), [](const auto& entry) {
      return entry.second.dead || entry.second.area->requests.empty();
    });
  }
  [[nodiscard]] Area* area(ProcessId id) {
    const auto found = processes_.find(id);
    return found == processes_.end() ? nullptr : found->second.area;
  }

  void on_message(MachineId peer, Bytes bytes);
  void on_transferred(std::uint64_t tag, Errc status);
  /// All that was on its way is lost; `up` is false from now on, until the links say otherwise.
  void on_link_lost(MachineId peer);

  /// Processes that have been told something since the last time: they may want to be woken.
  [[nodiscard]] std::set<ProcessId> take_told() { return std::exchange(told_, {}); }
  [[nodiscard]] std::size_t queues() const noexcept { return queues_.size(); }
  [[nodiscard]] std::size_t processes() const noexcept { return processes_.size(); }

 private:
  using ServiceName = std::pair<MachineId, std::uint64_t>;
  struct Waiting {
    std::uint64_t cookie = 0;
    std::uint64_t offset = 0;
    std::uint32_t bytes = 0;
  };
  struct Process {
    Area* area = nullptr;
    MutableBytes data;
    bool dead = false;
    std::size_t queues = 0;
    std::size_t services = 0;
    std::size_t transfers = 0;          ///< that may still land in its data
    std::set<ServiceName> unforgotten;  ///< its services, by the peers that may still read of them
    std::deque<Waiting> receives;
    std::deque<std::uint32_t> arrived;  ///< queues with messages that wait for a receive, in order
  };
  struct Queue {
    ProcessId process = 0;
    MachineId peer = MachineId::none;
    std::uint64_t service = 0;
    std::uint32_t other = 0;  ///< the peer's queue; 0: not known yet, it is the service's
    bool caller = false;      ///< it was connected from here
    bool lost = false;
    bool end_told = false;
    std::uint32_t may_send = credits;
    std::deque<Waiting> sends;                      ///< that wait for credit
    std::deque<std::vector<std::uint8_t>> backlog;  ///< that have come
  };
  struct Service {
    ProcessId process = 0;
    Region region;
    std::set<MachineId> known_to;
  };
  /// A service of another machine, while queues to it can be made without asking.
  struct Known {
    bool found = false;
    bool going = false;  ///< its machine waits to hear that it is forgotten
    Region region;
    std::size_t transfers = 0;
    std::vector<std::pair<ProcessId, std::uint64_t>>
        asking;  ///< with the cookies of their connects
  };
  struct Flight {
    ServiceName service;
    ProcessId process = 0;
    std::uint32_t queue = 0;
    std::uint64_t cookie = 0;
    Op op = Op::read;
  };

  void carry_out(ProcessId id, Process& process, const Request& request);
  void connect(ProcessId id, const Request& request);
  void transfer(ProcessId id, Process& process, Queue& queue, const Request& request);
  void send(std::uint32_t number, Queue& queue, const Waiting& message);
  void deliver(ProcessId id, Process& process);
  void make_queue(ProcessId id, std::uint64_t cookie, const ServiceName& name, const Known& known);
  void lose_queue(std::uint32_t number, Queue& queue);
  void erase_queue(std::uint32_t number, bool tell_peer);
  void forget_if_done(const ServiceName& name);
  void release_if_done(ProcessId id);
  void on_data(MachineId peer, const Message& message, Bytes payload);

  void tell(ProcessId id, const Completion& completion) {
    const auto found = processes_.find(id);
    if (found == processes_.end() || found->second.dead) return;
    // Full only where the process has more out than it may: its own loss.
    static_cast<void>(found->second.area->completions.push(completion));
    told_.insert(id);
  }
  void tell(ProcessId id, std::uint64_t cookie, Op op, Errc status, std::uint32_t queue = 0,
            std::uint32_t bytes = 0) {
    tell(id, Completion{cookie, status, op, queue, bytes});
  }
  void say(MachineId peer, const Message& message, Bytes payload = {}) {
    if (links_->up(peer)) links_->send(peer, encode(message, payload));
  }
  static bool within(std::uint64_t offset, std::uint64_t bytes, std::uint64_t size) noexcept {
    return offset <= size && bytes <= size - offset;
  }
  Queue* queue_of(ProcessId id, std::uint32_t number) {
    const auto found = queues_.find(number);
    return found == queues_.end() || found->second.process != id ? nullptr : &found->second;
  }

  Links* links_;
  std::map<ProcessId, Process> processes_;
  std::map<std::uint32_t, Queue> queues_;
  std::map<std::uint64_t, Service> services_;                             ///< of this machine
  std::map<ServiceName, Known> known_;                                    ///< of others
  std::map<std::pair<MachineId, std::uint32_t>, std::uint32_t> callers_;  ///< peer's queue: ours
  std::map<std::uint64_t, Flight> flights_;
  std::uint32_t last_queue_ = 0;
  std::uint64_t last_tag_ = 0;
  std::set<ProcessId> told_;
};

// -- what processes ask ---------------------------------------------------------------------------

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
  if (processes_[id].queues >= max_queues) {
    return tell(id, request.cookie, Op::connect, Errc::limit_exceeded);
  }
  if (!links_->up(peer)) return tell(id, request.cookie, Op::connect, Errc::machine_unreachable);
  const ServiceName name{peer, request.service};
  Known& known = known_[name];
  if (known.found && !known.going) return make_queue(id, request.cookie, name, known);
  known.asking.emplace_back(id, request.cookie);
  if (known.asking.size() > 1 || known.going) return;  // asked, or asked once it is forgotten
  Message find;
  find.kind = Kind::find;
  find.service = request.service;
  say(peer, find);
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

// -- what peers say -------------------------------------------------------------------------------

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
      const auto asking = std::exchange(known->second.asking, {});
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

// -- ends -----------------------------------------------------------------------------------------

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
  const auto asking = std::exchange(found->second.asking, {});
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
    for (const auto& [id, cookie] : at->second.asking) {
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
