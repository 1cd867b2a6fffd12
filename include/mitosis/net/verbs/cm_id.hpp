// SPDX-License-Identifier: MIT
// CmId: one connection, or a listener, of rdma_cm, with an event channel of its own. World: user.
// The queue pair stays ours: rdma_cm tells the attributes for each of its states (rdma_cm(7), "the
// user's own queue pair"), so both ways of connecting end in the same RcEndpoint.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <rdma/rdma_cma.h>

#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/verbs/rc_endpoint.hpp>

#include <cerrno>
#include <utility>

namespace mitosis::verbs {

/// Owns an rdma_event_channel; move-only.
class CmChannel {
 public:
  static Result<CmChannel> make() noexcept {
    rdma_event_channel* const raw = ::rdma_create_event_channel();
    if (raw == nullptr) {
      return Error(Errc::transport_unsupported, "rdma_cm: is the module rdma_ucm loaded?", errno);
    }
    CmChannel channel(raw);
    if (::fcntl(raw->fd, F_SETFL, O_NONBLOCK) != 0) {
      return Error(Errc::system_call_failed, "fcntl(O_NONBLOCK)", errno);
    }
    return channel;
  }
  explicit CmChannel(rdma_event_channel* raw) noexcept : raw_(raw) {}
  CmChannel(CmChannel&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  CmChannel& operator=(CmChannel&&) = delete;
  ~CmChannel() {
    if (raw_ != nullptr) ::rdma_destroy_event_channel(raw_);
  }
  [[nodiscard]] rdma_event_channel* get() const noexcept { return raw_; }
  [[nodiscard]] int fd() const noexcept { return raw_->fd; }

 private:
  rdma_event_channel* raw_;
};

/// Owns an rdma_cm_id; move-only. Ends before its channel, with all its events acknowledged.
class CmId {
 public:
  static Result<CmId> make(const CmChannel& channel) noexcept {
    rdma_cm_id* raw = nullptr;
    if (::rdma_create_id(channel.get(), &raw, nullptr, RDMA_PS_TCP) != 0) {
      return Error(Errc::system_call_failed, "rdma_create_id", errno).in("connect by rdma_cm");
    }
    return CmId(raw);
  }
  explicit CmId(rdma_cm_id* raw) noexcept : raw_(raw) {}
  CmId(CmId&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  CmId& operator=(CmId&&) = delete;
  ~CmId() {
    if (raw_ == nullptr) return;
    (void)::rdma_disconnect(raw_);
    ::rdma_destroy_id(raw_);
  }
  [[nodiscard]] rdma_cm_id* get() const noexcept { return raw_; }

  /// Brings a queue pair to `state`, as rdma_cm says.
  [[nodiscard]] Result<void> bring(QueuePair& pair, ibv_qp_state state, const Nic& nic,
                                   const Patience& patience, bool target) const noexcept {
    ibv_qp_attr attributes = {};
    attributes.qp_state = state;
    int mask = 0;
    if (::rdma_init_qp_attr(raw_, &attributes, &mask) != 0) {
      return Error(Errc::system_call_failed, "rdma_init_qp_attr", errno).in("connect by rdma_cm");
    }
    if (state == IBV_QPS_INIT) {
      attributes.qp_access_flags = target ? unsigned{IBV_ACCESS_REMOTE_READ} : 0u;
    }
    if (state == IBV_QPS_RTR) attributes.max_dest_rd_atomic = nic.reads_in();
    if (state == IBV_QPS_RTS && (mask & IBV_QP_TIMEOUT) != 0) attributes.timeout = patience.ack;
    return pair.modify(attributes, mask, "connect by rdma_cm");
  }

 private:
  rdma_cm_id* raw_;
};

}  // namespace mitosis::verbs
