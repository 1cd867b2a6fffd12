// SPDX-License-Identifier: MIT
// ServedQueuePairs: the queue pairs through which other machines read this one's memory.
// World: user; thread-safe. They only answer: nothing is ever posted to them.
#pragma once

#include <sys/random.h>

#include <mitosis/net/verbs/cm_listener.hpp>
#include <mitosis/net/verbs/rc_endpoint.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

namespace mitosis::verbs {

/// Each lives as long as the session that asked for it, or until its reader asks for another in its
/// place: what readers lose or forget does not add up. The nic must outlive it.
class ServedQueuePairs {
 public:
  static constexpr std::size_t max_of_a_machine = 512;

  explicit ServedQueuePairs(const Nic& nic) noexcept : nic_(&nic) {}

  ServedQueuePairs(const ServedQueuePairs&) = delete;
  ServedQueuePairs& operator=(const ServedQueuePairs&) = delete;
  ~ServedQueuePairs() {
    if (listener_ != nullptr)
      listener_->stop();  // its thread uses the pairs, which use its channel
  }

  /// This machine's end, for a reader on `machine`, which must be authenticated. limit_exceeded: it
  /// has too many.
  Result<rpc::QueuePairEnd> connect(MachineId machine, std::uint64_t session,
                                    const rpc::ConnectQueuePair& request) {
    if (nic_->iwarp()) {
      return Error(Errc::transport_unsupported, "the device is iWARP: rdma_cm alone connects it")
          .in("connect a queue pair");
    }
    const Key key{machine, request.client, request.endpoint};
    if (auto r = replace(key, Served{session}); !r) return r.error();
    auto made = RcEndpoint::make(*nic_, nullptr, RcEndpoint::Role::target);
    if (!made) return made.error();
    if (auto r = made->init(); !r) return r.error();
    if (auto r = made->connect(request.end, Patience()); !r) return r.error();
    const rpc::QueuePairEnd ours = made->end();
    const std::lock_guard lock(mutex_);
    const auto kept = pairs_.find(key);
    if (kept == pairs_.end() || kept->second.session != session) {
      return Error(Errc::connection_lost, "its session has ended").in("connect a queue pair");
    }
    kept->second.endpoint = std::make_unique<RcEndpoint>(std::move(made).value());
    return ours;
  }

  /// The same by rdma_cm: where the reader is waited for. The listener starts with the first one.
  Result<rpc::ConnectionPlace> expect(MachineId machine, std::uint64_t session,
                                      const rpc::ExpectConnection& request) {
    rpc::ConnectionPlace place;
    if (::getrandom(place.ticket.data(), place.ticket.size(), 0) !=
        static_cast<ssize_t>(place.ticket.size())) {
      return Error(Errc::system_call_failed, "getrandom", errno).in("connect by rdma_cm");
    }
    const auto port = listen();
    if (!port) return port.error();
    place.address = nic_->address();
    if (place.address.empty()) {
      return Error(Errc::transport_unsupported, "the device has no IP address; rdma_cm needs one")
          .in("connect by rdma_cm");
    }
    place.address += ":" + std::to_string(*port);
    Served served{session};
    served.ticket = place.ticket;
    served.waits = true;
    if (auto r = replace({machine, request.client, request.endpoint}, std::move(served)); !r) {
      return r.error();
    }
    return place;
  }
  void end_session(std::uint64_t session) {
    const std::lock_guard lock(mutex_);
    std::erase_if(pairs_, [session](const auto& each) { return each.second.session == session; });
  }
  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return pairs_.size();
  }

 private:
  using Key = std::tuple<MachineId, std::uint64_t, std::uint32_t>;
  struct Served {
    explicit Served(std::uint64_t s) noexcept : session(s) {}
    std::uint64_t session;
    rpc::Ticket ticket{};  ///< of one that waits for rdma_cm
    bool waits = false;
    std::unique_ptr<CmId> cm;
    std::unique_ptr<RcEndpoint> endpoint;  ///< last: it ends first
  };

  /// Ends what the reader had under that name.
  Result<void> replace(const Key& key, Served served) {
    const std::lock_guard lock(mutex_);
    pairs_.erase(key);
    std::size_t others = 0;
    for (const auto& [other, each] : pairs_) others += std::get<0>(other) == std::get<0>(key);
    if (others >= max_of_a_machine) {
      return Error(Errc::limit_exceeded, "queue pairs of one machine").in("connect a queue pair");
    }
    pairs_.emplace(key, std::move(served));
    return {};
  }
  Result<std::uint16_t> listen() {
    const std::lock_guard lock(starting_);
    if (listener_ == nullptr) {
      auto started = CmListener::start(
          *nic_,
          [this](const rpc::Ticket& ticket) {
            const std::lock_guard held(mutex_);
            return waiting(ticket) != nullptr;
          },
          [this](const rpc::Ticket& ticket, CmAccepted accepted) {
            const std::lock_guard held(mutex_);
            Served* const served = waiting(ticket);
            if (served == nullptr) return;
            served->waits = false;
            accepted.accept();
            served->cm = std::move(accepted.id);
            served->endpoint = std::move(accepted.endpoint);
          });
      if (!started) return started.error();
      listener_ = std::move(started).value();
    }
    return listener_->port();
  }
  /// With `mutex_` held: who waits for that ticket; null where nobody does.
  Served* waiting(const rpc::Ticket& ticket) noexcept {
    for (auto& [key, served] : pairs_) {
      if (served.waits && served.ticket == ticket) return &served;
    }
    return nullptr;
  }

  const Nic* nic_;
  std::mutex starting_;
  mutable std::mutex mutex_;
  // Before the pairs, whose ids must end before its channel.
  std::unique_ptr<CmListener> listener_;
  std::map<Key, Served> pairs_;
};

}  // namespace mitosis::verbs
