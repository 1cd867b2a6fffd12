// SPDX-License-Identifier: MIT
// AddressHandle: a way to a machine, for requests that are not of a connection (UD, DCT).
// World: user.
#pragma once

#include <mitosis/net/verbs/protection_domain.hpp>

#include <utility>

namespace mitosis::verbs {

/// Owns an ibv_ah; move-only. Must outlive the requests that were posted with it.
class AddressHandle {
 public:
  /// On Ethernet this may ask the network for the neighbour's address, so it can take a while.
  static Result<AddressHandle> make(const ProtectionDomain& domain, ibv_ah_attr way) noexcept {
    ibv_ah* const raw = ::ibv_create_ah(domain.get(), &way);
    if (raw == nullptr) {
      return Error(Errc::machine_unreachable, "ibv_create_ah", errno).in("make an address handle");
    }
    return AddressHandle(raw);
  }
  explicit AddressHandle(ibv_ah* raw) noexcept : raw_(raw) {}
  AddressHandle(AddressHandle&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  AddressHandle& operator=(AddressHandle&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~AddressHandle() { close(); }

  [[nodiscard]] ibv_ah* get() const noexcept { return raw_; }

 private:
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_destroy_ah(raw_);
  }
  ibv_ah* raw_;
};

}  // namespace mitosis::verbs
