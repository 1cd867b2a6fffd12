// SPDX-License-Identifier: MIT
// What the net tests share: targets in memory, a service for calls, a server on a free port.
// World: user.
#pragma once

#include <mitosis/net/tcp/address_book.hpp>
#include <mitosis/net/tcp/clock.hpp>
#include <mitosis/net/tcp/server.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::test {

inline constexpr MachineId server_machine{2};
inline constexpr MachineId client_machine{1};
inline constexpr TargetName good_target{7, 0x1234};

inline auth::Identity identity(MachineId machine, const std::string& secret = "a shared secret!") {
  Result<auth::Secret> made = auth::Secret::from(
      Bytes(reinterpret_cast<const std::uint8_t*>(secret.data()), secret.size()));
  return {machine, std::make_shared<const auth::Secret>(std::move(made).value())};
}

/// The byte at an address of every target: so that any misplaced byte shows.
inline std::uint8_t byte_at(std::uint64_t address) {
  const std::uint64_t mixed = (address + 1) * 0x9e3779b97f4a7c15ull;
  return static_cast<std::uint8_t>(mixed >> 56);
}

/// One target whose content is byte_at. `before_read` runs in the lane's thread before each read.
class PatternTarget final : public tcp::ReadService {
 public:
  Errc read(const TargetName& target, std::uint64_t address, MutableBytes into) noexcept override {
    if (before_read) before_read(address, into.size());
    const std::lock_guard lock(mutex_);
    if (revoked_ || !(target == good_target)) return Errc::revoked;
    for (std::size_t i = 0; i < into.size(); ++i) into[i] = byte_at(address + i);
    return Errc::ok;
  }
  void revoke() {
    const std::lock_guard lock(mutex_);
    revoked_ = true;
  }
  std::function<void(std::uint64_t address, std::size_t bytes)> before_read;

 private:
  std::mutex mutex_;
  bool revoked_ = false;
};

/// A service that knows no handler; tests override what they are about.
class NoService : public rpc::Service {
 public:
  Result<rpc::DescriptorLease> query_descriptor(const rpc::Caller&, HandlerId,
                                                const AuthKey&) override {
    return Errc::unknown_handler;
  }
  Result<void> fallback_read(const rpc::Caller&, const TargetName&, std::uint64_t,
                             MutableBytes) override {
    return Errc::page_unavailable;
  }
  Result<void> reclaim(const rpc::Caller&, HandlerId, const AuthKey&) override {
    return Errc::unknown_handler;
  }
  Result<std::uint64_t> renew_lease(const rpc::Caller&, HandlerId, Generation) override {
    return Errc::unknown_handler;
  }
};

/// A running server of `server_machine`.
struct TestServer {
  PatternTarget targets;
  std::unique_ptr<tcp::Server> server;

  explicit TestServer(rpc::Service& service, const std::string& host = "127.0.0.1",
                      tcp::Server::Options options = {}) {
    options.listen = host + ":0";
    Result<std::unique_ptr<tcp::Server>> started =
        tcp::Server::start(std::move(options), identity(server_machine), targets, service);
    if (started.ok()) server = std::move(started).value();
    address = host + ":" + std::to_string(server->port());
  }
  std::string address;
};

}  // namespace mitosis::test
