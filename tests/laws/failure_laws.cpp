// SPDX-License-Identifier: MIT
// Laws of failure: whatever breaks, every access ends in the right byte or in an error, in time.
#include "world.hpp"

#include <mitosis/net/sim/awkward.hpp>

namespace mitosis::laws {

namespace {

/// A world whose machines read through `fabric` instead of the policy's transport.
template <class Make>
void with_fabric(const sim::RunPolicy& policy, Make make, bool may_fail) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    sim::MachineOptions options;
    options.fabric = [make](sim::Network& network, MachineId, TransportKind,
                            std::function<void()> on_ready) {
      return make(network, std::move(on_ready));
    };
    World world(policy, seed, Weather::calm, options);
    const ProcessPtr child = world.resume();
    if (child == nullptr) {
      EXPECT_TRUE(may_fail && policy.eager());
      continue;
    }
    const ProcessPtr second = world.resume();
    world.expect_all(child, may_fail);
    if (second != nullptr) world.expect_all(second, may_fail);
    world.run();
  }
}

}  // namespace

void a_crashed_peer_ends_in_an_error_within_the_deadline(const sim::RunPolicy& policy) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    World world(policy, seed);
    const ProcessPtr child = world.resume();
    ASSERT_NE(child, nullptr);
    world.expect_all(child, true);
    world.cluster().run_for(2'000 + world.random().below(6'000'000));
    world.cluster()[0].crash();
    world.run();
    world.expect_all(child, true);  // again: still no other byte
    world.run();
    EXPECT_TRUE(!policy.eager() || world.failed == 0);
    EXPECT_EQ(world.resume(2), nullptr);
    EXPECT_EQ(world.resume_error, Errc::machine_unreachable);
  }
}

void a_restarted_agent_is_waited_for(const sim::RunPolicy& policy) {
  World world(policy, 3);
  const ProcessPtr child = world.resume();
  ASSERT_NE(child, nullptr);
  world.expect_all(child);
  world.cluster().run_for(4'000);
  world.cluster()[0].crash_agent();
  world.cluster().run_for(seconds / 2);
  world.cluster()[0].boot();
  world.run();
  EXPECT_EQ(world.failed, 0);
}

void a_fabric_that_fails_everything_leaves_the_fallback(const sim::RunPolicy& policy) {
  with_fabric(
      policy,
      [](sim::Network& network, std::function<void()> on_ready) {
        return sim::AnyFabric::make<sim::FailingFabric>(network, std::move(on_ready),
                                                        Errc::connection_lost);
      },
      false);
}

void a_fabric_that_reorders_changes_no_byte(const sim::RunPolicy& policy) {
  with_fabric(
      policy,
      [](sim::Network& network, std::function<void()> on_ready) {
        return sim::AnyFabric::make<sim::ScatteringFabric>(network, std::move(on_ready), 1'000u,
                                                           5'000'000u);
      },
      false);
}

void a_fabric_that_is_late_ends_in_an_error_within_the_deadline(const sim::RunPolicy& policy) {
  with_fabric(
      policy,
      [](sim::Network& network, std::function<void()> on_ready) {
        return sim::AnyFabric::make<sim::ScatteringFabric>(network, std::move(on_ready),
                                                           1 * seconds, 20 * seconds);
      },
      true);
}

void a_child_that_dies_leaves_nothing_behind(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    const ProcessPtr child = world.resume();
    const ProcessPtr sibling = world.resume();
    if (!child || !sibling) return world.excuse(rough);
    for (const auto& [page, stamp] : world.expected) child->read(page, [](Access, auto) {});
    world.expect_all(sibling, rough);
    world.cluster().run_for(world.random().below(6'000'000));
    world.cluster()[1].exit(child);  // with reads out, which fill the cache that both share
    world.run();
  });  // ~World looks at what is left
}

}  // namespace mitosis::laws
