// SPDX-License-Identifier: MIT
// A fabric whose data path may throw is none. World: any.
// expect: static
// mentions: NotAFabric
#include <mitosis/net/fabric.hpp>

struct NotAFabric {
  void post(mitosis::Span<const mitosis::ReadRequest>) {}
  std::size_t poll(mitosis::Span<mitosis::ReadCompletion>, mitosis::Time) noexcept { return 0; }
  void forget(mitosis::MachineId) noexcept {}
};
static_assert(mitosis::Fabric<NotAFabric>);
