// SPDX-License-Identifier: MIT
// QueuePair: one end of a connection (RC), or of datagrams (UD). World: user.
#pragma once

#include <mitosis/net/verbs/completion_queue.hpp>
#include <mitosis/net/verbs/protection_domain.hpp>

#include <cstdint>
#include <utility>

namespace mitosis::verbs {

/// What a queue pair has room for.
struct QueueSizes {
  std::uint32_t sends = 64;
  std::uint32_t receives = 1;
  std::uint32_t inline_bytes = 0;  ///< sent without being registered
  std::uint32_t pieces = 1;        ///< of memory, in one request
};

/// Owns an ibv_qp; move-only. Ends before its queues and domain. One thread posts at a time.
class QueuePair {
 public:
  /// `type`: IBV_QPT_RC or IBV_QPT_UD. Requests are told of only where they ask for it
  /// (IBV_SEND_SIGNALED).
  static Result<QueuePair> make(const ProtectionDomain& domain, ibv_qp_type type,
                                const CompletionQueue& sends, const CompletionQueue& receives,
                                const QueueSizes& sizes) noexcept {
    ibv_qp_init_attr wanted = {};
    wanted.qp_type = type;
    wanted.send_cq = sends.get();
    wanted.recv_cq = receives.get();
    wanted.cap.max_send_wr = sizes.sends;
    wanted.cap.max_recv_wr = sizes.receives;
    wanted.cap.max_send_sge = sizes.pieces;
    wanted.cap.max_recv_sge = sizes.pieces;
    wanted.cap.max_inline_data = sizes.inline_bytes;
    ibv_qp* const raw = ::ibv_create_qp(domain.get(), &wanted);
    if (raw == nullptr) {
      return Error(Errc::system_call_failed, "ibv_create_qp", errno).in("make a queue pair");
    }
    return QueuePair(raw);
  }
  explicit QueuePair(ibv_qp* raw) noexcept : raw_(raw) {}
  QueuePair(QueuePair&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  QueuePair& operator=(QueuePair&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~QueuePair() { close(); }

  [[nodiscard]] ibv_qp* get() const noexcept { return raw_; }
  [[nodiscard]] std::uint32_t number() const noexcept { return raw_->qp_num; }
  /// `mask`: which members of `attributes` count (IBV_QP_...). `step` is for the error.
  [[nodiscard]] Result<void> modify(ibv_qp_attr attributes, int mask, const char* step) noexcept {
    if (const int e = ::ibv_modify_qp(raw_, &attributes, mask); e != 0) {
      return Error(Errc::system_call_failed, "ibv_modify_qp", e).in(step);
    }
    return {};
  }
  /// Hands a chain of requests to the device, with one doorbell. On failure `refused` is the first
  /// that was not taken; those before it were.
  [[nodiscard]] Result<void> post(ibv_send_wr& first, ibv_send_wr*& refused) noexcept {
    refused = nullptr;
    if (const int e = ::ibv_post_send(raw_, &first, &refused); e != 0) {
      return Error(Errc::system_call_failed, "ibv_post_send", e).in("post a request");
    }
    return {};
  }
  [[nodiscard]] Result<void> post_receives(ibv_recv_wr& first, ibv_recv_wr*& refused) noexcept {
    refused = nullptr;
    if (const int e = ::ibv_post_recv(raw_, &first, &refused); e != 0) {
      return Error(Errc::system_call_failed, "ibv_post_recv", e).in("post a receive");
    }
    return {};
  }

 private:
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_destroy_qp(raw_);
  }
  ibv_qp* raw_;
};

}  // namespace mitosis::verbs
