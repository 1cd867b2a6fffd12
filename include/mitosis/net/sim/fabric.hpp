// SPDX-License-Identifier: MIT
// SimFabric: one-sided reads in virtual time, with the endpoint pools of both transports.
// World: sim.
#pragma once

#include <mitosis/mem/heap_allocator.hpp>
#include <mitosis/net/dct.hpp>
#include <mitosis/net/endpoint_pool.hpp>
#include <mitosis/net/fabric.hpp>
#include <mitosis/net/rc.hpp>
#include <mitosis/net/sim/network.hpp>
#include <mitosis/policy/axes.hpp>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::sim {

template <TransportValue T>
using PoolFor = std::conditional_t<std::same_as<T, DCT>, DctPool<>, RcPool<HeapAllocator>>;

/// Models Fabric for machine `self`. `on_ready` is called, from an event, when poll has something.
/// It may be destroyed with requests out: their events find it gone.
template <TransportValue T>
class SimFabric {
 public:
  SimFabric(Network& network, MachineId self, std::function<void()> on_ready)
      : network_(network), self_(self), on_ready_(std::move(on_ready)) {}
  SimFabric(const SimFabric&) = delete;
  SimFabric& operator=(const SimFabric&) = delete;

  void post(Span<const ReadRequest> batch) noexcept {
    for (const ReadRequest& request : batch) {
      const std::uint64_t id = next_id_++;
      requests_.emplace(id, Request{request});
      waiting_.push_back(id);
      if (request.deadline != Time::never) {
        later(request.deadline, [this, id] { end(id, Errc::timed_out); });
      }
    }
    admit();
  }
  std::size_t poll(Span<ReadCompletion> done, Time) noexcept {
    std::size_t n = 0;
    while (n < done.size() && !done_.empty()) {
      done[n++] = done_.front();
      done_.pop_front();
    }
    return n;
  }
  void forget(MachineId peer) noexcept {
    std::vector<std::uint64_t> lost;
    for (const auto& [id, r] : requests_) {
      if (r.request.peer == peer) lost.push_back(id);
    }
    for (const std::uint64_t id : lost) end(id, Errc::connection_lost);
    for (const Lane lane : {Lane::demand, Lane::bulk}) {
      const std::uint32_t endpoint = pool_.bound({peer, lane});
      if (endpoint != no_endpoint) pool_.release(endpoint);
    }
    admit();
  }

  /// Connections that were set up so far: what RC pays once a peer, DCT for each change of peer.
  [[nodiscard]] std::uint64_t connects() const noexcept { return connects_; }
  [[nodiscard]] std::size_t in_flight() const noexcept { return requests_.size(); }

 private:
  struct Request {
    ReadRequest request;
    std::uint32_t endpoint = no_endpoint;
    bool sent = false;
  };
  struct Endpoint {
    Time ready{};
    std::uint64_t life = 0;  ///< of the peer that it is connected to
  };

  /// An action that must not outlive the fabric.
  template <class Action>
  void later(Time when, Action action) {
    network_.events().at(when, static_cast<std::uint64_t>(self_),
                         [alive = std::weak_ptr<int>(alive_), action = std::move(action)] {
                           if (alive.lock() != nullptr) action();
                         });
  }

  /// Hands waiting requests to endpoints, in order for each destination.
  void admit() {
    std::vector<Destination> full;
    std::deque<std::uint64_t> left;
    for (const std::uint64_t id : std::exchange(waiting_, {})) {
      const auto found = requests_.find(id);
      if (found == requests_.end()) continue;  // timed out while it waited
      Request& r = found->second;
      const Destination destination{r.request.peer, r.request.lane};
      bool blocked = false;
      for (const Destination& d : full) blocked = blocked || d == destination;
      const Grant grant = blocked ? Grant{} : pool_.admit(destination, !full.empty());
      if (grant.kind == Grant::wait) {
        if (!blocked) full.push_back(destination);
        left.push_back(id);
        continue;
      }
      if (grant.kind == Grant::refuse) {
        later(network_.events().now(), [this, id] { end(id, Errc::limit_exceeded); });
        continue;
      }
      if (grant.kind == Grant::bind) connect(grant.endpoint, r.request.peer);
      r.endpoint = grant.endpoint;
      send(id, r);
    }
    for (const std::uint64_t id : left) waiting_.push_back(id);
  }

  void connect(std::uint32_t endpoint, MachineId peer) {
    const Costs& costs = network_.model().costs;
    const bool dct = std::same_as<T, DCT>;
    endpoints_[endpoint] = {network_.events().now() + (dct ? costs.dct_connect : costs.rc_connect),
                            network_.life(peer)};
    ++connects_;
  }

  /// Request out, read at the owner, answer back: two events.
  void send(std::uint64_t id, Request& r) {
    Endpoint& endpoint = endpoints_[r.endpoint];
    const MachineId peer = r.request.peer;
    const Faults& faults = network_.model().faults;
    const Time now = network_.events().now();
    r.sent = true;
    const std::uint64_t life = network_.life(peer);
    if (!network_.up(peer) || endpoint.life != life) {
      const Errc why = network_.up(peer) ? Errc::connection_lost : Errc::machine_unreachable;
      later(now + network_.model().costs.detect_crash, [this, id, why] { broken(id, why); });
      return;
    }
    if (network_.random().chance(faults.loss)) return;  // ends at its deadline
    std::uint64_t late = 0;
    if (network_.random().chance(faults.delay)) late = network_.random().below(faults.max_delay);
    const bool unavailable = network_.random().chance(faults.unavailable);
    const Time start = now < endpoint.ready ? endpoint.ready : now;
    later(network_.send(self_, peer, 64, start) + late, [this, id, life, unavailable] {
      const auto found = requests_.find(id);
      if (found == requests_.end()) return;
      serve(id, found->second.request, life, unavailable);
    });
  }

  void serve(std::uint64_t id, const ReadRequest& request, std::uint64_t life, bool unavailable) {
    const Time now = network_.events().now();
    if (!network_.up(request.peer) || network_.life(request.peer) != life) {
      later(now + network_.model().costs.detect_crash,
            [this, id] { broken(id, Errc::connection_lost); });
      return;
    }
    auto bytes = std::make_shared<std::vector<std::uint8_t>>(request.bytes);
    const Errc status = unavailable ? Errc::page_unavailable
                                    : network_.read(request.peer, request.target,
                                                    request.remote_address, MutableBytes(*bytes));
    const std::uint64_t size = status == Errc::ok ? request.bytes : 16;
    later(network_.send(request.peer, self_, size, now), [this, id, status, bytes] {
      const auto found = requests_.find(id);
      if (found == requests_.end()) return;  // its memory is not ours any more
      const ReadRequest& r = found->second.request;
      if (status == Errc::ok) __builtin_memcpy(r.into.data, bytes->data(), r.bytes);
      end(id, status);
    });
  }

  /// A dead connection takes its endpoint with it.
  void broken(std::uint64_t id, Errc why) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) return;
    const MachineId peer = found->second.request.peer;
    end(id, why);
    forget(peer);
  }

  void end(std::uint64_t id, Errc status) {
    const auto found = requests_.find(id);
    if (found == requests_.end()) return;
    const Request r = found->second;
    requests_.erase(found);
    done_.push_back({r.request.cookie, status});
    if (r.sent && r.endpoint != no_endpoint) pool_.finish(r.endpoint, 1);
    if (done_.size() == 1) later(network_.events().now(), [this] { on_ready_(); });
    admit();
  }

  Network& network_;
  MachineId self_;
  std::function<void()> on_ready_;
  PoolFor<T> pool_;
  std::map<std::uint32_t, Endpoint> endpoints_;
  std::map<std::uint64_t, Request> requests_;
  std::deque<std::uint64_t> waiting_;
  std::deque<ReadCompletion> done_;
  std::uint64_t next_id_ = 0;
  std::uint64_t connects_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};
static_assert(Fabric<SimFabric<DCT>> && Fabric<SimFabric<RC>>);

}  // namespace mitosis::sim
