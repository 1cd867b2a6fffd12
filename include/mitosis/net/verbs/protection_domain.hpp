// SPDX-License-Identifier: MIT
// ProtectionDomain: which memory regions and queue pairs may be used together. World: user.
#pragma once

#include <mitosis/net/verbs/context.hpp>

#include <utility>

namespace mitosis::verbs {

/// Owns an ibv_pd; move-only. Ends before its context, after all that was made of it.
class ProtectionDomain {
 public:
  static Result<ProtectionDomain> make(const Context& context) noexcept {
    ibv_pd* const raw = ::ibv_alloc_pd(context.get());
    if (raw == nullptr) {
      return Error(Errc::system_call_failed, "ibv_alloc_pd", errno).in("open a device");
    }
    return ProtectionDomain(raw);
  }
  explicit ProtectionDomain(ibv_pd* raw) noexcept : raw_(raw) {}
  ProtectionDomain(ProtectionDomain&& other) noexcept : raw_(std::exchange(other.raw_, nullptr)) {}
  ProtectionDomain& operator=(ProtectionDomain&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
    }
    return *this;
  }
  ~ProtectionDomain() { close(); }

  [[nodiscard]] ibv_pd* get() const noexcept { return raw_; }

 private:
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_dealloc_pd(raw_);
  }
  ibv_pd* raw_;
};

}  // namespace mitosis::verbs
