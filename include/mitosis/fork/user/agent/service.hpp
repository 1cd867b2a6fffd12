// SPDX-License-Identifier: MIT
// AgentService: what this machine's agent does when another one calls. World: user.
#pragma once

#include <mitosis/fork/user/agent/parents.hpp>
#include <mitosis/fork/user/agent/rdma_side.hpp>
#include <mitosis/mem/target_table.hpp>
#include <mitosis/net/rpc/service.hpp>

#include <algorithm>
#include <chrono>

namespace mitosis::agent {

/// Thread-safe; owns nothing.
class AgentService final : public rpc::Service {
 public:
  AgentService(Parents& parents, TargetTable& targets) : parents_(parents), targets_(targets) {}

  /// From now on, before the first call: what is asked of RDMA goes there.
  void use(RdmaSide* rdma) noexcept { rdma_ = rdma; }

  /// Waits for a prepare that is still being captured, at most until the caller's deadline.
  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller& caller, HandlerId handler,
                                                const AuthKey& key) override {
    auto parent = parents_.get(handler, &key, as_clock(caller.deadline));
    if (!parent) return parent.error();
    return rpc::DescriptorLease{(*parent)->descriptor, (*parent)->generation, lease_ms(),
                                (*parent)->policy};
  }
  Result<void> fallback_read(const rpc::Caller&, const TargetName& target, std::uint64_t address,
                             MutableBytes into) override {
    const Errc e = targets_.read(target, address, into);
    if (e != Errc::ok) return Error(e).at_address(address).in("read a page");
    return {};
  }
  Result<void> reclaim(const rpc::Caller&, HandlerId handler, const AuthKey& key) override {
    return parents_.reclaim(handler, &key, 0);
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller&, HandlerId handler,
                                    Generation generation) override {
    if (auto r = parents_.renew(handler, generation); !r) return r.error();
    return lease_ms();
  }
  Result<rpc::QueuePairEnd> connect_queue_pair(const rpc::Caller& caller, std::uint64_t session,
                                               const rpc::ConnectQueuePair& request) override {
    if (rdma_ == nullptr) return rpc::Service::connect_queue_pair(caller, session, request);
    return rdma_->connect_queue_pair(caller, session, request);
  }
  Result<rpc::ConnectionPlace> expect_connection(const rpc::Caller& caller, std::uint64_t session,
                                                 const rpc::ExpectConnection& request) override {
    if (rdma_ == nullptr) return rpc::Service::expect_connection(caller, session, request);
    return rdma_->expect_connection(caller, session, request);
  }
  Result<rpc::PiecesReply> query_pieces(const rpc::Caller& caller,
                                        const TargetName& target) override {
    if (rdma_ == nullptr) return rpc::Service::query_pieces(caller, target);
    return rdma_->query_pieces(target);
  }
  Result<rpc::ud::Way> query_way(const rpc::Caller& caller) override {
    return rdma_ == nullptr ? rpc::Service::query_way(caller) : rdma_->way();
  }
  void on_session_end(std::uint64_t session) override {
    if (rdma_ != nullptr) rdma_->on_session_end(session);
  }

 private:
  [[nodiscard]] std::uint64_t lease_ms() const {
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(parents_.lease()).count());
  }
  static Clock::time_point as_clock(Time t) {
    const auto ns = std::min<std::uint64_t>(static_cast<std::uint64_t>(t), ~std::uint64_t{0} >> 2);
    return Clock::time_point(std::chrono::nanoseconds(ns));
  }
  Parents& parents_;
  TargetTable& targets_;
  RdmaSide* rdma_ = nullptr;
};

}  // namespace mitosis::agent
