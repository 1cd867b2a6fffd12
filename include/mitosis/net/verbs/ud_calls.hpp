// SPDX-License-Identifier: MIT
// UdCalls: DatagramCalls over a device's datagrams. World: user.
#pragma once

#include <mitosis/net/rpc/datagram_calls.hpp>
#include <mitosis/net/verbs/ud_client.hpp>

#include <memory>
#include <utility>

namespace mitosis::verbs {

class UdCalls final : public rpc::DatagramCalls {
 public:
  /// TCP stands ready: a peer that says nothing is given up within two seconds.
  static constexpr unsigned silent_tries = 7;

  static Result<std::unique_ptr<rpc::DatagramCalls>> open(const ChosenGid& at, auth::Identity self,
                                                          MachineId peer, const rpc::ud::Way& way) {
    UdClient::Options options;
    options.tries = 1;
    options.session.patience.tries = silent_tries;
    auto client = UdClient::open(at, std::move(self), peer, way, options);
    if (!client.ok()) return client.error();
    return std::unique_ptr<rpc::DatagramCalls>(new UdCalls(std::move(client).value()));
  }

  Result<rpc::FetchedDescriptor> query_descriptor(HandlerId handler, const AuthKey& key,
                                                  Time deadline) override {
    return client_->query_descriptor(handler, key, deadline);
  }
  Result<void> fallback_read(const TargetName& target, std::uint64_t address, MutableBytes into,
                             Time deadline) override {
    return client_->fallback_read(target, address, into, deadline);
  }
  Result<std::uint64_t> renew_lease(HandlerId handler, Generation generation,
                                    Time deadline) override {
    return client_->renew_lease(handler, generation, deadline);
  }
  void close() override { client_->close(); }

 private:
  explicit UdCalls(std::unique_ptr<UdClient> client) : client_(std::move(client)) {}
  std::unique_ptr<UdClient> client_;
};

}  // namespace mitosis::verbs
