// SPDX-License-Identifier: MIT
// TcpFabric<Transport>: the Fabric of machines without a special NIC. World: user.
// One-sided reads become records on a TCP connection that the owner's lane thread serves. RC keeps
// a demand and a bulk connection a peer; DCT has a fixed number of connections and re-targets one
// by closing it and connecting anew, so its memory and sockets do not grow with peers.
#pragma once

#include <sys/epoll.h>

#include <mitosis/net/dct.hpp>
#include <mitosis/net/fair_queue.hpp>
#include <mitosis/net/lane_set.hpp>
#include <mitosis/net/tcp/pool_memory.hpp>
#include <mitosis/net/tcp/read_lane.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mitosis {

/// Models Fabric. Made, used and destroyed by one thread (one pager). Sleep on `wait_fd()` until
/// `next_deadline()` at the latest, then `poll`. Time is CLOCK_MONOTONIC in nanoseconds. Requests
/// to one peer and lane complete in the order of posting, unless they fail. Destroying it drops
/// what is in flight without completions; nothing is written into request memory afterwards.
template <class Transport>
class TcpFabric {
 public:
  /// Requests that may wait for an initiator (DCT); further ones complete with limit_exceeded.
  static constexpr std::uint32_t max_waiting = 1024;

  /// The book must outlive the fabric.
  [[nodiscard]] static Result<std::unique_ptr<TcpFabric>> open(auth::Identity identity,
                                                               const tcp::AddressBook& book,
                                                               tcp::FabricOptions options = {}) {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll) return Error(Errc::system_call_failed, "epoll_create1", errno).in("open fabric");
    return std::unique_ptr<TcpFabric>(
        new TcpFabric(std::move(epoll), std::move(identity), book, options));
  }
  TcpFabric(const TcpFabric&) = delete;
  TcpFabric& operator=(const TcpFabric&) = delete;

  // The Fabric concept.
  void post(Span<const ReadRequest> batch) noexcept;
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept;
  void forget(MachineId peer) noexcept;

  /// Whether requests are out or completions are ready. While not, poll has nothing to do before
  /// wait_fd is readable.
  [[nodiscard]] bool busy() const noexcept {
    return !lanes_.hot().empty() || !context_.done.empty() ||
           (waiting_ != nullptr && !waiting_->empty());
  }
  /// Readable when `poll` has something to do; for poll(2) or an outer epoll.
  [[nodiscard]] int wait_fd() const noexcept { return epoll_.get(); }
  /// Call `poll` by then even if wait_fd is silent; in the past where completions are ready.
  [[nodiscard]] Time next_deadline() const noexcept;
  /// Why a connection last failed; code ok where none did.
  [[nodiscard]] const Error& last_failure() const noexcept { return context_.last_failure; }
  /// How many sockets are open now.
  [[nodiscard]] std::size_t sockets() const noexcept {
    std::size_t open = 0;
    lanes_.for_each([&](const tcp::ReadLane& lane) { open += lane.has_socket() ? 1 : 0; });
    return open;
  }

 private:
  using Pool = typename PoolOf<Transport>::type;
  using Waiting = FairQueue<ReadRequest, max_waiting>;
  /// Up to so many lanes are looked at directly before epoll is asked: the usual pager waits for
  /// one reply of one peer. Now and then epoll is asked all the same, for the idle connections.
  static constexpr std::size_t few_lanes = 2;
  static constexpr unsigned max_direct_polls = 16;
  static constexpr int events_a_call = 32;

  TcpFabric(UniqueFd epoll, auth::Identity identity, const tcp::AddressBook& book,
            tcp::FabricOptions options)
      : epoll_(std::move(epoll)) {
    context_.identity = std::move(identity);
    context_.book = &book;
    context_.options = options;
    context_.epoll = epoll_.get();
    context_.scrap.resize(tcp::max_part);
  }

  void refuse(const ReadRequest& request, Errc why) {
    context_.done.push_back({request.cookie, why});
  }
  bool admit(const ReadRequest& request, bool others_wait);
  void wait_in_line(const ReadRequest& request);
  bool look_directly() noexcept;
  void settle(Time now);
  void place_waiting(Time now);

  UniqueFd epoll_;
  tcp::FabricContext context_;
  LaneSet<tcp::ReadLane, tcp::FabricContext, Pool> lanes_{context_};
  std::unique_ptr<Waiting> waiting_;  ///< made when first needed: RC never does
  Time waiting_soonest_ = Time::never;
  unsigned direct_polls_ = 0;  ///< in a row
};

/// Gives a request to a lane; false where it must wait.
template <class Transport>
bool TcpFabric<Transport>::admit(const ReadRequest& request, bool others_wait) {
  const Grant grant = lanes_.admit({request.peer, request.lane}, others_wait);
  if (grant.kind == Grant::wait) return false;
  if (grant.kind == Grant::refuse) {
    refuse(request, Errc::limit_exceeded);
    return true;
  }
  lanes_[grant.endpoint].enqueue(request);
  return true;
}

template <class Transport>
void TcpFabric<Transport>::wait_in_line(const ReadRequest& request) {
  if (waiting_ == nullptr) waiting_ = std::make_unique<Waiting>();
  if (!waiting_->push({request.peer, request.lane}, request)) {
    return refuse(request, Errc::limit_exceeded);
  }
  if (request.deadline < waiting_soonest_) waiting_soonest_ = request.deadline;
}

template <class Transport>
void TcpFabric<Transport>::post(Span<const ReadRequest> batch) noexcept {
  for (const ReadRequest& request : batch) {
    const Destination destination{request.peer, request.lane};
    if (request.bytes == 0 || request.bytes > tcp::max_read || request.into.data == nullptr) {
      refuse(request, Errc::invalid_argument);
    } else if (waiting_ != nullptr && waiting_->has(destination)) {
      wait_in_line(request);  // behind the earlier ones
    } else if (!admit(request, waiting_ != nullptr && !waiting_->empty())) {
      wait_in_line(request);
    }
  }
  lanes_.flush(tcp::monotonic_now());
}

/// Whether this poll may skip epoll: the few lanes in use need nothing but receiving.
template <class Transport>
bool TcpFabric<Transport>::look_directly() noexcept {
  const std::vector<std::uint32_t>& hot = lanes_.hot();
  bool direct = !hot.empty() && hot.size() <= few_lanes && ++direct_polls_ < max_direct_polls;
  for (const std::uint32_t endpoint : hot) direct = direct && lanes_[endpoint].only_receives();
  if (!direct) direct_polls_ = 0;
  return direct;
}

template <class Transport>
std::size_t TcpFabric<Transport>::poll(Span<ReadCompletion> done, Time now) noexcept {
  const bool direct = look_directly();
  if (direct) {
    for (const std::uint32_t endpoint : lanes_.hot()) lanes_[endpoint].receive(now);
  }
  if (!direct) {
    epoll_event events[events_a_call];
    const int count = ::epoll_wait(epoll_.get(), events, events_a_call, 0);
    for (int i = 0; i < count; ++i) lanes_[events[i].data.u32].on_ready(events[i].events, now);
  }
  lanes_.expire(now);
  settle(now);
  std::size_t written = 0;
  while (written < done.size() && !context_.done.empty()) {
    done[written++] = context_.done[0];
    context_.done.pop_front();
  }
  return written;
}

/// Tells the pool what has ended, and lets who waits for that go.
template <class Transport>
void TcpFabric<Transport>::settle(Time now) {
  for (const std::uint32_t endpoint : lanes_.hot()) {
    const std::uint32_t finished = lanes_[endpoint].take_finished();
    if (finished > 0) lanes_.pool().finish(endpoint, finished);
  }
  lanes_.cool();
  if (waiting_ != nullptr && !waiting_->empty()) place_waiting(now);
}

template <class Transport>
void TcpFabric<Transport>::place_waiting(Time now) {
  if (now >= waiting_soonest_) {
    waiting_soonest_ = Time::never;
    waiting_->remove_if([&](Destination, const ReadRequest& request) {
      if (request.deadline <= now) {
        refuse(request, Errc::timed_out);
        return true;
      }
      if (request.deadline < waiting_soonest_) waiting_soonest_ = request.deadline;
      return false;
    });
  }
  waiting_->offer([&](Destination destination, const ReadRequest& request) {
    return admit(request, waiting_->others(destination));
  });
  lanes_.flush(now);
}

template <class Transport>
void TcpFabric<Transport>::forget(MachineId peer) noexcept {
  lanes_.forget(peer, [](tcp::ReadLane& lane) {
    lane.fail(Errc::connection_lost);
    static_cast<void>(lane.take_finished());
  });
  if (waiting_ == nullptr) return;
  waiting_->remove_if([&](Destination destination, const ReadRequest& request) {
    if (destination.peer != peer) return false;
    refuse(request, Errc::connection_lost);
    return true;
  });
}

template <class Transport>
Time TcpFabric<Transport>::next_deadline() const noexcept {
  if (!context_.done.empty()) return Time{0};
  const bool wait = waiting_ != nullptr && !waiting_->empty();
  return std::min(lanes_.soonest(), wait ? waiting_soonest_ : Time::never);
}

static_assert(Fabric<TcpFabric<RC>> && Fabric<TcpFabric<DCT>>);

}  // namespace mitosis
