// SPDX-License-Identifier: MIT
// AnyFabric: a fabric chosen at run time. World: sim.
// A child's driver does not depend on the transport, so the simulator compiles it once for both.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <memory>
#include <utility>

namespace mitosis::sim {

/// Owns some model of Fabric, and models it itself.
class AnyFabric {
 public:
  AnyFabric() noexcept = default;
  /// Makes an F from the arguments.
  template <Fabric F, class... Args>
  static AnyFabric make(Args&&... args) {
    AnyFabric any;
    any.fabric_ = std::make_unique<Model<F>>(std::forward<Args>(args)...);
    return any;
  }

  void post(Span<const ReadRequest> batch) noexcept { fabric_->post(batch); }
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept {
    return fabric_->poll(done, now);
  }
  void forget(MachineId peer) noexcept { fabric_->forget(peer); }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual void post(Span<const ReadRequest>) noexcept = 0;
    virtual std::size_t poll(Span<ReadCompletion>, Time) noexcept = 0;
    virtual void forget(MachineId) noexcept = 0;
  };
  template <Fabric F>
  struct Model final : Interface {
    template <class... Args>
    explicit Model(Args&&... args) : fabric(std::forward<Args>(args)...) {}
    void post(Span<const ReadRequest> batch) noexcept override { fabric.post(batch); }
    std::size_t poll(Span<ReadCompletion> done, Time now) noexcept override {
      return fabric.poll(done, now);
    }
    void forget(MachineId peer) noexcept override { fabric.forget(peer); }
    F fabric;
  };
  std::unique_ptr<Interface> fabric_;
};
static_assert(Fabric<AnyFabric>);

}  // namespace mitosis::sim
