// SPDX-License-Identifier: MIT
// cm_connect(): the reader's side of a connection by rdma_cm. World: user; blocks.
// The ticket, which the owner's agent has given over the authenticated session, goes along as
// private data: who has none is rejected.
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <mitosis/net/tcp/address.hpp>
#include <mitosis/net/verbs/cm_id.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <utility>

namespace mitosis::verbs {

/// A connection that rdma_cm has made: it ends with its id.
struct CmConnection {
  std::unique_ptr<CmChannel> channel;
  std::unique_ptr<CmId> id;
  std::unique_ptr<RcEndpoint> endpoint;  ///< last: it ends first
};

namespace detail {

/// Waits for the one event that the step leads to.
inline Result<void> await(const CmChannel& channel, rdma_cm_event_type wanted, Time deadline) {
  pollfd waiting{channel.fd(), POLLIN, 0};
  (void)::poll(&waiting, 1, tcp::timeout_ms(deadline, tcp::monotonic_now()));
  rdma_cm_event* event = nullptr;
  if (::rdma_get_cm_event(channel.get(), &event) != 0) {
    return Error(errno == EAGAIN ? Errc::machine_unreachable : Errc::system_call_failed,
                 "no answer to rdma_cm", errno == EAGAIN ? 0 : errno);
  }
  const rdma_cm_event_type came = event->event;
  (void)::rdma_ack_cm_event(event);
  if (came == wanted) return {};
  return Error(Errc::machine_unreachable, ::rdma_event_str(came));
}

}  // namespace detail

/// Connects an endpoint to the owner that waits for it at `place`, by `deadline`.
inline Result<CmConnection> cm_connect(const Nic& nic, const EventChannel* completions,
                                       const rpc::ConnectionPlace& place, const Patience& patience,
                                       Time deadline) {
  const auto failed = [](Error why) { return why.in("connect by rdma_cm"); };
  const auto address = tcp::resolve(place.address);
  if (!address) return failed(address.error());
  auto channel = CmChannel::make();
  if (!channel) return failed(channel.error());
  CmConnection made;
  made.channel = std::make_unique<CmChannel>(std::move(channel).value());
  auto id = CmId::make(*made.channel);
  if (!id) return failed(id.error());
  made.id = std::make_unique<CmId>(std::move(id).value());
  rdma_cm_id* const raw = made.id->get();
  // 1. The way there.
  sockaddr_storage to = {};
  std::memcpy(&to, &address->storage, sizeof to);
  const int patience_ms = tcp::timeout_ms(deadline, tcp::monotonic_now());
  if (::rdma_resolve_addr(raw, nullptr, reinterpret_cast<sockaddr*>(&to), patience_ms) != 0) {
    return failed(Error(Errc::machine_unreachable, "rdma_resolve_addr", errno));
  }
  if (auto r = detail::await(*made.channel, RDMA_CM_EVENT_ADDR_RESOLVED, deadline); !r) {
    return failed(r.error());
  }
  if (raw->verbs == nullptr ||
      std::strcmp(::ibv_get_device_name(raw->verbs->device), nic.context().name()) != 0) {
    return failed(Error(Errc::machine_unreachable, "the way there is over another device"));
  }
  if (::rdma_resolve_route(raw, patience_ms) != 0) {
    return failed(Error(Errc::machine_unreachable, "rdma_resolve_route", errno));
  }
  if (auto r = detail::await(*made.channel, RDMA_CM_EVENT_ROUTE_RESOLVED, deadline); !r) {
    return failed(r.error());
  }
  // 2. Our end.
  auto endpoint = RcEndpoint::make(nic, completions, RcEndpoint::Role::reader);
  if (!endpoint) return failed(endpoint.error());
  made.endpoint = std::make_unique<RcEndpoint>(std::move(endpoint).value());
  QueuePair& pair = made.endpoint->pair();
  if (auto r = made.id->bring(pair, IBV_QPS_INIT, nic, patience, false); !r) return r.error();
  // 3. The owner's.
  rdma_conn_param wish = {};
  wish.private_data = place.ticket.data();
  wish.private_data_len = static_cast<std::uint8_t>(place.ticket.size());
  wish.responder_resources = nic.reads_in();
  wish.initiator_depth = nic.reads_out();
  wish.retry_count = patience.retries;
  wish.rnr_retry_count = patience.retries;
  wish.qp_num = pair.number();
  if (::rdma_connect(raw, &wish) != 0) {
    return failed(Error(Errc::machine_unreachable, "rdma_connect", errno));
  }
  // iWARP's driver raises the queue pair itself, when the owner's answer comes.
  const auto answered = nic.iwarp() ? RDMA_CM_EVENT_ESTABLISHED : RDMA_CM_EVENT_CONNECT_RESPONSE;
  if (auto r = detail::await(*made.channel, answered, deadline); !r) {
    return failed(r.error());
  }
  if (nic.iwarp()) return made;
  // 4. Go.
  for (const ibv_qp_state state : {IBV_QPS_RTR, IBV_QPS_RTS}) {
    if (auto r = made.id->bring(pair, state, nic, patience, false); !r) return r.error();
  }
  if (::rdma_establish(raw) != 0) {
    return failed(Error(Errc::machine_unreachable, "rdma_establish", errno));
  }
  return made;
}

}  // namespace mitosis::verbs
