// SPDX-License-Identifier: MIT
// AnyFabric: the fabric of a child whose transport was chosen at run time. World: user.
// A child only posts, a few times a fault; what a virtual call costs is nothing beside a system
// call, and each policy is compiled once, not once a transport.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <concepts>
#include <cstddef>

namespace mitosis::agent {

/// Models Fabric by forwarding. Owns nothing; one thread, as the fabric behind it.
class AnyFabric {
 public:
  /// Not for an AnyFabric: it models Fabric too, and a copy must not refer to what it was made of.
  template <Fabric FabricType>
  requires(!std::same_as<FabricType, AnyFabric>) explicit AnyFabric(FabricType& fabric) noexcept
      : fabric_(&fabric),
        post_([](void* f, Span<const ReadRequest> batch) noexcept {
          static_cast<FabricType*>(f)->post(batch);
        }),
        poll_([](void* f, Span<ReadCompletion> done, Time now) noexcept {
          return static_cast<FabricType*>(f)->poll(done, now);
        }),
        forget_(
            [](void* f, MachineId peer) noexcept { static_cast<FabricType*>(f)->forget(peer); }) {}

  void post(Span<const ReadRequest> batch) noexcept { post_(fabric_, batch); }
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept {
    return poll_(fabric_, done, now);
  }
  void forget(MachineId peer) noexcept { forget_(fabric_, peer); }

 private:
  void* fabric_;
  void (*post_)(void*, Span<const ReadRequest>) noexcept;
  std::size_t (*poll_)(void*, Span<ReadCompletion>, Time) noexcept;
  void (*forget_)(void*, MachineId) noexcept;
};
static_assert(Fabric<AnyFabric>);

}  // namespace mitosis::agent
