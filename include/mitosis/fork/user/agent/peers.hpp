// SPDX-License-Identifier: MIT
// Peers: the other machines' agents, as this one calls them. World: user.
#pragma once

#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/mem/descriptor/view.hpp>
#include <mitosis/net/rpc/client.hpp>
#include <mitosis/net/rpc/quick_calls.hpp>
#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace mitosis::agent {

/// Thread-safe. A machine's clients are made when first needed and live as long as this.
class Peers {
 public:
  /// Hears that a session to a machine was lost; called on the thread that noticed.
  using OnLost = std::function<void(MachineId, const Error&)>;
  static constexpr std::uint64_t call_ms = 5000;

  Peers(auth::Identity identity, OnLost on_lost)
      : identity_(std::move(identity)), on_lost_(std::move(on_lost)) {}

  using Datagrams = rpc::QuickCalls<rpc::Client>::Listeners;
  /// Before the first call: what may be executed twice goes by datagrams, where the peer takes
  /// them.
  void use(Datagrams datagrams) { datagrams_ = std::move(datagrams); }

  [[nodiscard]] const tcp::AddressBook& book() const noexcept { return book_; }
  [[nodiscard]] const auth::Identity& identity() const noexcept { return identity_; }

  /// Calls another machine at this very address, then enters it: machine_unreachable,
  /// authentication_failed. Sessions to another address of it end, and the next call goes to this
  /// one. Where that fails, an address that is known already stays, while one
  /// where nobody answers is entered if there was none: its agent may start later.
  Result<void> connect(MachineId machine, const std::string& address) {
    if (machine == identity_.machine) {
      return Error(Errc::invalid_argument, "that is this machine's own id").in("connect");
    }
    tcp::AddressBook given;
    if (auto r = given.set(machine, address); !r) return r.error().in("connect");
    rpc::Client first(identity_, given, machine);
    if (auto r = first.ping(tcp::deadline_in(call_ms)); !r) {
      const bool silent = r.code() == Errc::machine_unreachable || r.code() == Errc::timed_out;
      if (silent && !book_.find(machine)) (void)book_.set(machine, address);
      return r;
    }
    const auto before = book_.find(machine);
    if (auto r = book_.set(machine, address); !r) return r.error().in("connect");
    if (before && before->text() != given.find(machine)->text()) clients(machine)->leave();
    return clients(machine)->calls.ping(tcp::deadline_in(call_ms));
  }
  /// Calls a machine that is known: machine_unknown, and as `connect`.
  Result<void> ping(MachineId machine) {
    if (!book_.find(machine)) return Error(Errc::machine_unknown).at_machine(machine).in("ping");
    return clients(machine)->calls.ping(tcp::deadline_in(call_ms));
  }
  /// Enters a machine without calling it.
  Result<void> enter(MachineId machine, const std::string& address) {
    return book_.set(machine, address);
  }
  /// Enters the ancestors that a descriptor names, as far as they are unknown: their pages are read
  /// from them, though nobody has connected us.
  void learn_addresses(const DescriptorView& view) {
    for (const descriptor::OwnerRecord owner : view.owners()) {
      const MachineId machine{owner.machine};
      if (machine == identity_.machine || book_.find(machine)) continue;
      (void)book_.set(machine, owner.address);  // unknown still: its reads will say so
    }
  }
  Result<rpc::FetchedDescriptor> query(MachineId machine, HandlerId handler, const AuthKey& key,
                                       Clock::time_point deadline) {
    const auto ns =
        std::chrono::duration_cast<std::chrono::nanoseconds>(deadline.time_since_epoch());
    return clients(machine)->quick.query_descriptor(handler, key,
                                                    Time{static_cast<std::uint64_t>(ns.count())});
  }
  Result<void> reclaim(MachineId machine, HandlerId handler, const AuthKey& key) {
    return clients(machine)->calls.reclaim(handler, key, tcp::deadline_in(call_ms));
  }
  Result<std::uint64_t> renew(MachineId machine, HandlerId handler, Generation generation) {
    return clients(machine)->quick.renew_lease(handler, generation, tcp::deadline_in(call_ms));
  }
  /// A FallbackReader's call: blocks until the request's deadline at most. Over TCP: where
  /// one-sided reads fail, datagrams of the same device would too.
  Errc read(const ReadRequest& request) {
    auto done = clients(request.peer)
                    ->fallback.fallback_read(request.target, request.remote_address,
                                             {request.into.data, request.bytes}, request.deadline);
    return done.code();
  }
  /// The peer's end of a queue pair.
  Result<rpc::QueuePairEnd> connect_queue_pair(MachineId machine,
                                               const rpc::ConnectQueuePair& request,
                                               Time deadline) {
    return clients(machine)->rdma.connect_queue_pair(request, deadline);
  }
  /// Where rdma_cm connects a queue pair to it.
  Result<rpc::ConnectionPlace> expect_connection(MachineId machine,
                                                 const rpc::ExpectConnection& request,
                                                 Time deadline) {
    return clients(machine)->rdma.expect_connection(request, deadline);
  }
  /// What of a target of its can be read by RDMA.
  Result<rpc::PiecesReply> query_pieces(MachineId machine, const TargetName& target,
                                        Time deadline) {
    return clients(machine)->rdma.query_pieces(target, deadline);
  }
  /// Ends all calls in progress, for good.
  void close() {
    const std::lock_guard lock(mutex_);
    for (const auto& [machine, clients] : clients_) {
      clients->quick.close();
      clients->calls.close();
      clients->fallback.close();
      clients->rdma.close();
    }
  }

 private:
  /// A fallback read must not wait behind a long query: it has a session of its own. The peer's
  /// queue pairs live as long as the third one, which is made where there is RDMA.
  struct Clients {
    Clients(const Peers& peers, MachineId machine)
        : calls(peers.identity_, peers.book_, machine, peers.on_lost_, {}),
          fallback(peers.identity_, peers.book_, machine),
          rdma(peers.identity_, peers.book_, machine),
          quick(calls, machine, peers.datagrams_) {}
    /// Their sessions end: the machine is at another address.
    void leave() {
      const Error why(Errc::connection_lost, "it was given another address");
      for (rpc::Client* client : {&calls, &fallback, &rdma}) {
        if (const auto session = client->session()) client->lost(session, why);
      }
      quick.forget();
    }
    rpc::Client calls, fallback, rdma;
    rpc::QuickCalls<rpc::Client> quick;  ///< over the first one, or datagrams
  };
  std::shared_ptr<Clients> clients(MachineId machine) {
    const std::lock_guard lock(mutex_);
    auto& entry = clients_[machine];
    if (entry == nullptr) entry = std::make_shared<Clients>(*this, machine);
    return entry;
  }

  auth::Identity identity_;
  OnLost on_lost_;
  Datagrams datagrams_;
  tcp::AddressBook book_;
  std::mutex mutex_;
  std::map<MachineId, std::shared_ptr<Clients>> clients_;
};

}  // namespace mitosis::agent
