// SPDX-License-Identifier: MIT
// MemoryRegion: memory of this process that the device may use. World: user.
// Registered pages are pinned: they stay in memory, and count against RLIMIT_MEMLOCK where the
// process has no CAP_IPC_LOCK.
#pragma once

#include <mitosis/base/span.hpp>
#include <mitosis/mem/local_memory.hpp>
#include <mitosis/net/verbs/protection_domain.hpp>
#include <mitosis/net/verbs/remote_memory.hpp>

#include <cstdint>
#include <utility>

namespace mitosis::verbs {

/// Owns an ibv_mr; move-only. When it ends no peer can use its key any more: what is being read at
/// that moment fails there. The memory is borrowed, and must stay mapped as long as this lives.
class MemoryRegion {
 public:
  /// What besides local reading is allowed.
  enum Access : unsigned {
    for_landing = IBV_ACCESS_LOCAL_WRITE,
    for_landing_of_iwarp = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE,
    for_remote_reads = IBV_ACCESS_REMOTE_READ,
    /// The same without pinning it: the device asks the kernel for what it needs (see Nic).
    for_remote_reads_on_demand = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_ON_DEMAND,
    for_remote_reads_and_writes =
        IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE,
  };

  static Result<MemoryRegion> make(const ProtectionDomain& domain, MutableBytes memory,
                                   Access access) noexcept {
    const unsigned flags = access;
    ibv_mr* const raw = ::ibv_reg_mr(domain.get(), memory.data(), memory.size(), flags);
    if (raw == nullptr) return failed();
    return MemoryRegion(raw);
  }
  /// The same under addresses of the caller's choice: peers name the first byte `address` (of the
  /// same place in its page). Where it is random it is a part of the key.
  static Result<MemoryRegion> make_at(const ProtectionDomain& domain, MutableBytes memory,
                                      std::uint64_t address, Access access) noexcept {
    const unsigned flags = access;
    ibv_mr* const raw =
        ::ibv_reg_mr_iova(domain.get(), memory.data(), memory.size(), address, flags);
    if (raw == nullptr) return failed();
    MemoryRegion region(raw);
    region.address_ = address;
    return region;
  }
  explicit MemoryRegion(ibv_mr* raw) noexcept
      : raw_(raw), address_(reinterpret_cast<std::uint64_t>(raw->addr)) {}
  MemoryRegion(MemoryRegion&& other) noexcept
      : raw_(std::exchange(other.raw_, nullptr)), address_(other.address_) {}
  MemoryRegion& operator=(MemoryRegion&& other) noexcept {
    if (this != &other) {
      close();
      raw_ = std::exchange(other.raw_, nullptr);
      address_ = other.address_;
    }
    return *this;
  }
  ~MemoryRegion() { close(); }
  /// Ends it before its time; says where the device does not: then peers may still read it.
  Result<void> end() noexcept {
    if (raw_ == nullptr) return {};
    const int failed = ::ibv_dereg_mr(std::exchange(raw_, nullptr));
    if (failed == 0) return {};
    return Error(Errc::system_call_failed, "ibv_dereg_mr", failed).in("end a registration");
  }

  [[nodiscard]] ibv_mr* get() const noexcept { return raw_; }
  [[nodiscard]] std::uint8_t* data() const noexcept {
    return static_cast<std::uint8_t*>(raw_->addr);
  }
  [[nodiscard]] std::size_t size() const noexcept { return raw_->length; }
  /// Part of it, for this machine's own requests.
  [[nodiscard]] LocalMemory local(std::size_t offset = 0) const noexcept {
    return {data() + offset, raw_->lkey};
  }
  /// All of it, to be told to a peer.
  [[nodiscard]] RemoteMemory remote() const noexcept {
    return {address_, raw_->length, raw_->rkey};
  }

 private:
  static Error failed() noexcept {
    const bool limit = errno == ENOMEM;
    return Error(limit ? Errc::limit_exceeded : Errc::system_call_failed,
                 limit ? "memory that may be pinned (ulimit -l), or the device's regions"
                       : "ibv_reg_mr",
                 errno)
        .in("register memory");
  }
  void close() noexcept {
    if (raw_ != nullptr) ::ibv_dereg_mr(raw_);
  }
  ibv_mr* raw_;
  std::uint64_t address_;
};

}  // namespace mitosis::verbs
