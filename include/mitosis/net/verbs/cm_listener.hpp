// SPDX-License-Identifier: MIT
// CmListener: the owner's side of connections by rdma_cm. World: user; a thread of its own.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <mitosis/base/unique_fd.hpp>
#include <mitosis/net/verbs/cm_id.hpp>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace mitosis::verbs {

/// A connection that a reader has asked for by rdma_cm.
struct CmAccepted {
  std::unique_ptr<CmId> id;
  std::unique_ptr<RcEndpoint> endpoint;  ///< last: it ends first
  rdma_conn_param answer = {};
  /// Lets the reader read.
  void accept() noexcept { (void)::rdma_accept(id->get(), &answer); }
};

/// Accepts who brings a ticket that `take` knows. The ids that it hands out must end before it.
class CmListener {
 public:
  /// Takes a connection over, and accepts it where somebody still waits for that ticket. Called by
  /// the listener's thread.
  using Take = std::function<void(const rpc::Ticket&, CmAccepted)>;
  /// Whether a ticket is good; called before anything is made for it.
  using Know = std::function<bool(const rpc::Ticket&)>;

  static Result<std::unique_ptr<CmListener>> start(const Nic& nic, Know know, Take take) {
    auto channel = CmChannel::make();
    if (!channel) return channel.error();
    auto id = nic.iwarp() ? listen_at(*channel, nic.address()) : listen_anywhere(*channel);
    if (!id) return id.error();
    std::unique_ptr<CmListener> made(new CmListener(
        nic, std::move(channel).value(), std::move(id).value(), std::move(know), std::move(take)));
    made->port_ = ::ntohs(::rdma_get_src_port(made->id_.get()));
    try {
      made->thread_ = std::thread([listener = made.get()] { listener->run(); });
    } catch (const std::system_error&) {
      return Error(Errc::limit_exceeded, "a thread cannot be started").in("listen by rdma_cm");
    }
    return made;
  }
  CmListener(const CmListener&) = delete;
  CmListener& operator=(const CmListener&) = delete;
  ~CmListener() { stop(); }
  /// Its thread has ended when it returns. Idempotent.
  void stop() {
    stopping_.store(true);
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] std::uint16_t port() const noexcept { return port_; }

 private:
  CmListener(const Nic& nic, CmChannel channel, CmId id, Know know, Take take)
      : nic_(nic),
        know_(std::move(know)),
        take_(std::move(take)),
        wake_(::eventfd(0, EFD_CLOEXEC)),
        channel_(std::move(channel)),
        id_(std::move(id)) {}

  static Result<CmId> listen_at(const CmChannel& channel, sockaddr* address) {
    auto id = CmId::make(channel);
    if (!id) return id.error();
    if (::rdma_bind_addr(id->get(), address) != 0 || ::rdma_listen(id->get(), 64) != 0) {
      return Error(Errc::system_call_failed, "rdma_listen", errno).in("listen by rdma_cm");
    }
    return id;
  }
  static Result<CmId> listen_anywhere(const CmChannel& channel) {
    sockaddr_in6 any = {};
    any.sin6_family = AF_INET6;  // of IPv4 too
    return listen_at(channel, reinterpret_cast<sockaddr*>(&any));
  }
  /// At an IPv4 address. Of iWARP: there a listener of IPv6 takes no connection of IPv4, and the
  /// port that rdma_cm draws is one of TCP, which somebody else may have: then another is drawn.
  static Result<CmId> listen_at(const CmChannel& channel, const std::string& text) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    if (::inet_pton(AF_INET, text.c_str(), &address.sin_addr) != 1) {
      return Error(Errc::transport_unsupported, "the device has no IPv4 address; rdma_cm needs one")
          .in("listen by rdma_cm");
    }
    constexpr int most_tries = 8;
    for (int tries = 1;; ++tries) {
      auto id = listen_at(channel, reinterpret_cast<sockaddr*>(&address));
      if (id || tries == most_tries || id.error().os_errno != EADDRINUSE) return id;
    }
  }

  void run() {
    while (!stopping_.load()) {
      pollfd waiting[2] = {{channel_.fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
      (void)::poll(waiting, 2, 1000);
      rdma_cm_event* event = nullptr;
      while (!stopping_.load() && ::rdma_get_cm_event(channel_.get(), &event) == 0) {
        if (event->event == RDMA_CM_EVENT_CONNECT_REQUEST) {
          on_request(*event);
        }
        // Nothing hangs on the others: a connection ends with the session that has asked for it.
        (void)::rdma_ack_cm_event(event);
      }
    }
  }
  void on_request(const rdma_cm_event& event) {
    CmAccepted made;
    made.id = std::make_unique<CmId>(event.id);
    const rdma_conn_param& asked = event.param.conn;
    rpc::Ticket ticket{};
    // rdma_cm pads what was sent with zeros.
    const bool whole = asked.private_data != nullptr && asked.private_data_len >= ticket.size();
    if (whole) std::memcpy(ticket.data(), asked.private_data, ticket.size());
    if (!whole || !know_(ticket)) return reject(*made.id);
    auto endpoint = RcEndpoint::make(nic_, nullptr, RcEndpoint::Role::target);
    if (!endpoint) return reject(*made.id);
    made.endpoint = std::make_unique<RcEndpoint>(std::move(endpoint).value());
    QueuePair& pair = made.endpoint->pair();
    for (const ibv_qp_state state : {IBV_QPS_INIT, IBV_QPS_RTR, IBV_QPS_RTS}) {
      // iWARP's driver raises it further when it accepts.
      if (nic_.iwarp() && state != IBV_QPS_INIT) break;
      if (!made.id->bring(pair, state, nic_, Patience(), true)) return reject(*made.id);
    }
    rdma_conn_param& answer = made.answer;
    answer.responder_resources = std::min(asked.responder_resources, nic_.reads_in());
    answer.initiator_depth = std::min(asked.initiator_depth, nic_.reads_out());
    answer.rnr_retry_count = asked.rnr_retry_count;
    answer.qp_num = pair.number();
    take_(ticket, std::move(made));
  }
  static void reject(const CmId& id) noexcept { (void)::rdma_reject(id.get(), nullptr, 0); }

  const Nic& nic_;
  const Know know_;
  const Take take_;
  UniqueFd wake_;
  CmChannel channel_;
  CmId id_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace mitosis::verbs
