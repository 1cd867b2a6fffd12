// SPDX-License-Identifier: MIT
// PagerFabric: a fabric that a pager owns, chosen at run time: tcp or verbs. World: user.
// Its children post to it, a few times a fault: what a virtual call costs is nothing beside a
// system call, and each policy is compiled once, not once a transport.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace mitosis::agent {

/// Owns a fabric and models Fabric; the pager's thread sleeps and polls as the fabric says. Never
/// empty but when moved from.
class PagerFabric {
 public:
  /// `F` has besides Fabric's: busy, wait_fd, next_deadline (see TcpFabric).
  template <Fabric F>
  explicit PagerFabric(std::unique_ptr<F> fabric)
      : fabric_(std::make_unique<Model<F>>(std::move(fabric))) {}

  void post(Span<const ReadRequest> batch) noexcept { fabric_->post(batch); }
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept {
    return fabric_->poll(done, now);
  }
  void forget(MachineId peer) noexcept { fabric_->forget(peer); }
  [[nodiscard]] bool busy() const noexcept { return fabric_->busy(); }
  [[nodiscard]] int wait_fd() const noexcept { return fabric_->wait_fd(); }
  [[nodiscard]] Time next_deadline() const noexcept { return fabric_->next_deadline(); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual void post(Span<const ReadRequest>) noexcept = 0;
    virtual std::size_t poll(Span<ReadCompletion>, Time) noexcept = 0;
    virtual void forget(MachineId) noexcept = 0;
    [[nodiscard]] virtual bool busy() const noexcept = 0;
    [[nodiscard]] virtual int wait_fd() const noexcept = 0;
    [[nodiscard]] virtual Time next_deadline() const noexcept = 0;
  };
  template <class F>
  struct Model final : Interface {
    explicit Model(std::unique_ptr<F> f) noexcept : fabric(std::move(f)) {}
    void post(Span<const ReadRequest> batch) noexcept override { fabric->post(batch); }
    std::size_t poll(Span<ReadCompletion> done, Time now) noexcept override {
      return fabric->poll(done, now);
    }
    void forget(MachineId peer) noexcept override { fabric->forget(peer); }
    [[nodiscard]] bool busy() const noexcept override { return fabric->busy(); }
    [[nodiscard]] int wait_fd() const noexcept override { return fabric->wait_fd(); }
    [[nodiscard]] Time next_deadline() const noexcept override { return fabric->next_deadline(); }
    std::unique_ptr<F> fabric;
  };
  std::unique_ptr<Interface> fabric_;
};
static_assert(Fabric<PagerFabric>);

}  // namespace mitosis::agent
