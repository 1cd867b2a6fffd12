// SPDX-License-Identifier: MIT
// Switchboard: what a machine's connection pool decides: who is connected with whom over the few
// connections that it holds, who may send, what of a region may be touched. World: user; no I/O.
// A process that misbehaves or dies hurts nobody else: its requests are checked here, and memory
// that others may be reading is let go only when they have said that they do not.
#pragma once

#include <mitosis/base/ids.hpp>
#include <mitosis/net/pool/area.hpp>
#include <mitosis/net/pool/message.hpp>
#include <mitosis/net/pool/transfer.hpp>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace mitosis::pool {

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
  void detach_all() {
    std::vector<ProcessId> all;
    for (const auto& [id, process] : processes_) all.push_back(id);
    for (const ProcessId id : all) detach(id);
  }
  /// Tells all processes whether the pool sleeps: whether they have to ring.
  void tell_sleeping(bool sleeps) {
    for (auto& [id, process] : processes_) {
      if (!process.dead) process.area->pool_sleeps.store(sleeps ? 1 : 0);
    }
  }
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
    std::size_t connects = 0;           ///< that wait for an answer
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
  using Asking = std::vector<std::pair<ProcessId, std::uint64_t>>;  ///< whose connects: cookies
  /// A service of another machine, while queues to it can be made without asking.
  struct Known {
    bool found = false;
    bool going = false;  ///< its machine waits to hear that it is forgotten
    Region region;
    std::size_t transfers = 0;
    Asking asking;
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
  Asking take_asking(Known& known);
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

}  // namespace mitosis::pool

#include <mitosis/net/pool/switchboard_ends.hpp>
#include <mitosis/net/pool/switchboard_messages.hpp>
#include <mitosis/net/pool/switchboard_requests.hpp>
