// SPDX-License-Identifier: MIT
// DatagramService: what other machines may ask by datagrams. World: user.
// All but queue pairs: those live as long as a session over TCP.
#pragma once

#include <mitosis/net/rpc/service.hpp>

namespace mitosis::agent {

/// Thread-safe, as the service behind it, which must outlive it.
class DatagramService final : public rpc::Service {
 public:
  explicit DatagramService(rpc::Service& service) noexcept : service_(&service) {}

  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller& caller, HandlerId handler,
                                                const AuthKey& key) override {
    return service_->query_descriptor(caller, handler, key);
  }
  Result<void> fallback_read(const rpc::Caller& caller, const TargetName& target,
                             std::uint64_t address, MutableBytes into) override {
    return service_->fallback_read(caller, target, address, into);
  }
  Result<void> reclaim(const rpc::Caller& caller, HandlerId handler, const AuthKey& key) override {
    return service_->reclaim(caller, handler, key);
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller& caller, HandlerId handler,
                                    Generation generation) override {
    return service_->renew_lease(caller, handler, generation);
  }

 private:
  rpc::Service* service_;
};

}  // namespace mitosis::agent
