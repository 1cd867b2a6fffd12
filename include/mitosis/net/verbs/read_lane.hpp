// SPDX-License-Identifier: MIT
// ReadLane: one reliable connection of a verbs fabric, to one peer for one kind of reads.
// World: user; its fabric's thread alone. Only used while it is up: nobody waits for a connection,
// reads go the second way meanwhile. One that breaks is ended before any of its reads goes on
// elsewhere, so that the device no longer writes where they land.
#pragma once

#include <mitosis/net/endpoint_pool.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/verbs/completion_words.hpp>
#include <mitosis/net/verbs/fabric_context.hpp>
#include <mitosis/net/verbs/link_state.hpp>
#include <mitosis/net/verbs/read_queue.hpp>

#include <cstdint>
#include <memory>
#include <utility>

namespace mitosis::verbs {

class ReadLane {
 public:
  ReadLane(FabricContext& context, std::uint32_t endpoint) noexcept
      : context_(&context), endpoint_(endpoint) {}
  ReadLane(const ReadLane&) = delete;
  ReadLane& operator=(const ReadLane&) = delete;

  /// Points it at a destination. It must have no live request.
  void bind(Destination destination) noexcept {
    drop();
    link_.forget();
    destination_ = destination;
  }
  /// Whether reads can be given to it now. Where not, sees to it that they can be later.
  [[nodiscard]] bool usable(Time now) {
    if (!context_->nic->usable()) return false;
    if (link_.up()) return true;
    if (link_.wanted(now)) connect();
    return false;
  }
  void enqueue(const PlacedRead& read, Time now) { queue_.push(read, now); }
  /// Hands to the device what it has room for, with one doorbell; the last read is signalled.
  void flush(Time now);
  /// Takes completions in; whether there were any.
  bool poll(Time now);
  /// Its next completion is told through the channel.
  void arm(Time now) {
    if (armed_ || pair_ == nullptr || queue_.open() == 0) return;
    armed_ = true;
    if (!pair_->completions().arm()) break_down(Error(Errc::connection_lost, "arm"), now);
  }
  void disarm() noexcept { armed_ = false; }
  [[nodiscard]] bool armed() const noexcept { return armed_; }
  /// Ends what is overdue; what the device has had for too long goes the second way.
  void expire(Time now);
  /// The device is of no use for now: what it has goes the second way.
  void give_up(Time now) {
    if (pair_ == nullptr) return;
    break_down(Error(Errc::connection_lost, "this machine's device or its port is down"), now);
  }
  /// Ends all its reads with `why`, and the connection.
  void fail(Errc why) {
    drop();
    link_.forget();
    queue_.end_all([&](const ReadRequest& read) { complete(read, why); });
  }

  [[nodiscard]] Time soonest() const noexcept { return queue_.soonest(); }
  [[nodiscard]] bool busy() const noexcept { return !queue_.empty(); }
  [[nodiscard]] bool connected() const noexcept { return pair_ != nullptr; }

 private:
  void connect();
  void take(std::uint64_t attempt, std::unique_ptr<CmConnection> cm,
            std::unique_ptr<RcEndpoint> made, const Error& why);
  void drop() noexcept {
    pair_.reset();
    cm_.reset();
  }
  void break_down(Error why, Time now);
  void complete(const ReadRequest& read, Errc status) {
    context_->done.push_back({read.cookie, status});
  }

  FabricContext* context_;
  std::uint32_t endpoint_;
  Destination destination_;
  LinkState link_;
  ReadQueue queue_{RcEndpoint::depth};
  std::unique_ptr<CmConnection> cm_;  ///< of pair_, where rdma_cm has made it
  std::unique_ptr<RcEndpoint> pair_;  ///< null where it is not up
  bool armed_ = false;
};

// -- connecting -----------------------------------------------------------------------------------

/// The calls and the device's set-up may take long: an errand does them.
inline void ReadLane::connect() {
  struct Made {
    std::unique_ptr<CmConnection> cm;
    std::unique_ptr<RcEndpoint> pair;
    Error why;
  };
  const auto errand = [this, attempt = link_.attempt(), peer = destination_.peer,
                       client = context_->client, endpoint = endpoint_, nic = context_->nic,
                       channel = context_->options.events ? context_->channel : nullptr,
                       control = context_->control, by_cm = context_->options.by_cm,
                       patience = context_->options.patience,
                       deadline_ms = context_->options.connect_ms]() -> Errands::Answer {
    auto outcome = std::make_shared<Made>();
    const auto make = [&]() -> Result<void> {
      if (by_cm) {
        const Time deadline = tcp::deadline_in(deadline_ms);
        const auto place = control->place(peer, {client, endpoint}, deadline);
        if (!place) return place.error();
        auto connected = cm_connect(*nic, channel, *place, patience, deadline);
        if (!connected) return connected.error();
        outcome->cm = std::make_unique<CmConnection>(std::move(connected).value());
        outcome->pair = std::move(outcome->cm->endpoint);
        return {};
      }
      auto pair = RcEndpoint::make(*nic, channel, RcEndpoint::Role::reader);
      if (!pair) return pair.error();
      auto held = std::make_unique<RcEndpoint>(std::move(pair).value());
      if (auto r = held->init(); !r) return r.error();
      const rpc::ConnectQueuePair ours{client, endpoint, held->end()};
      const auto theirs = control->connect(peer, ours, tcp::deadline_in(deadline_ms));
      if (!theirs) return theirs.error();
      if (auto r = held->connect(*theirs, patience); !r) return r.error();
      outcome->pair = std::move(held);
      return {};
    };
    if (auto r = make(); !r) outcome->why = r.error();
    return [this, attempt, outcome] {
      take(attempt, std::move(outcome->cm), std::move(outcome->pair), outcome->why);
    };
  };
  if (!context_->errands->run(errand)) link_.fail(tcp::monotonic_now());
}

inline void ReadLane::take(std::uint64_t attempt, std::unique_ptr<CmConnection> cm,
                           std::unique_ptr<RcEndpoint> made, const Error& why) {
  if (made == nullptr) {
    context_->last_failure = why;
    context_->last_failure.at_machine(destination_.peer).in("connect a queue pair");
  }
  if (!link_.made(attempt, made != nullptr, tcp::monotonic_now())) return;
  drop();
  pair_ = std::move(made);
  cm_ = std::move(cm);
  armed_ = false;
}

// -- reading --------------------------------------------------------------------------------------

inline void ReadLane::flush(Time now) {
  while (pair_ != nullptr) {
    ibv_send_wr requests[RcEndpoint::depth];
    ibv_sge memory[RcEndpoint::depth];
    std::uint32_t count = 0;
    PlacedRead read;
    std::uint64_t serial = 0;
    while (count + PlacedRead::max_parts <= RcEndpoint::depth && queue_.open_next(read, serial)) {
      std::uint64_t into = 0;
      for (std::uint32_t i = 0; i < read.count; ++i, ++count) {
        memory[count] = {reinterpret_cast<std::uint64_t>(read.request.into.data) + into,
                         static_cast<std::uint32_t>(read.parts[i].bytes),
                         read.request.into.local_key};
        into += read.parts[i].bytes;
        ibv_send_wr& request = requests[count];
        request = {};
        request.wr_id = serial;
        request.sg_list = &memory[count];
        request.num_sge = 1;
        request.opcode = IBV_WR_RDMA_READ;
        request.wr.rdma.remote_addr = read.parts[i].address;
        request.wr.rdma.rkey = read.parts[i].remote_key;
        if (count > 0) requests[count - 1].next = &request;
      }
    }
    if (count == 0) return;
    requests[count - 1].send_flags = IBV_SEND_SIGNALED;
    ibv_send_wr* refused = nullptr;
    if (auto r = pair_->pair().post(requests[0], refused); !r) return break_down(r.error(), now);
  }
}

inline bool ReadLane::poll(Time now) {
  bool any = false;
  ibv_wc done[16];
  while (pair_ != nullptr) {
    const auto count = pair_->completions().poll(done);
    if (!count) {
      break_down(count.error(), now);
      return true;
    }
    any = any || *count > 0;
    for (std::size_t i = 0; i < *count; ++i) {
      const ibv_wc& wc = done[i];
      const bool well = wc.status == IBV_WC_SUCCESS;
      // Of a failed one all before it have succeeded: a connection works in order. Not so iWARP:
      // a request that cannot be sent any more ends while answers to others are still to come.
      if (well || (wc.wr_id > 0 && !context_->nic->iwarp())) {
        queue_.succeed_to(well ? wc.wr_id : wc.wr_id - 1,
                          [this](const ReadRequest& read) { complete(read, Errc::ok); });
      }
      if (well) {
        link_.works();
        continue;
      }
      // iWARP ends the connection where a key is refused, and does not tell why.
      if (errc_of(wc.status) == Errc::page_unavailable || context_->nic->iwarp()) {
        std::uint64_t serial = 0;
        const PlacedRead* const culprit = queue_.oldest(serial);
        if (culprit != nullptr && (serial == wc.wr_id || context_->nic->iwarp())) {
          context_->on_refused_key(destination_.peer, culprit->request.target);
        }
      }
      const bool cut = context_->nic->iwarp() && wc.status == IBV_WC_WR_FLUSH_ERR;
      break_down(Error(errc_of(wc.status),
                       cut ? "the peer is gone, or its device refuses the key" : words(wc.status)),
                 now);
      return true;
    }
    if (*count < 16) break;
  }
  if (any) flush(now);
  return any;
}

// -- ending ---------------------------------------------------------------------------------------

inline void ReadLane::expire(Time now) {
  const bool overdue =
      queue_.expire(now, [this](const ReadRequest& read) { complete(read, Errc::timed_out); });
  if (overdue) break_down(Error(Errc::timed_out, "no answer to a read in half of its time"), now);
}

/// Its reads go the second way, where their time is not up.
inline void ReadLane::break_down(Error why, Time now) {
  context_->last_failure = why;
  context_->last_failure.at_machine(destination_.peer).in("read by RDMA");
  // A key that is refused breaks the connection, but it is no loss of the way.
  if (context_->options.on_loss && why.code != Errc::page_unavailable) {
    context_->options.on_loss(context_->last_failure);
  }
  drop();  // first: from here on the device writes nothing
  link_.fail(now);
  armed_ = false;
  queue_.end_all([&](const ReadRequest& read) {
    if (read.deadline <= now) {
      complete(read, Errc::timed_out);
    } else {
      context_->rerouted.push_back(read);
    }
  });
}

}  // namespace mitosis::verbs
