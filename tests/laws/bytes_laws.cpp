// SPDX-License-Identifier: MIT
// Laws of the bytes: a child reads what its parent had at prepare, whoever writes afterwards.
#include "world.hpp"

namespace mitosis::laws {

void child_reads_the_parents_bytes_as_of_prepare(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    const ProcessPtr child = world.resume();
    if (child == nullptr) return world.excuse(rough);
    world.expect_all(child, rough);
    world.run();
  });
}

void later_writes_of_the_parent_are_never_seen(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    for (const auto& [page, stamp] : world.expected) world.parent->write(page, 1);
    const ProcessPtr child = world.resume();
    if (child == nullptr) return world.excuse(rough);
    for (const auto& [page, stamp] : world.expected) {
      world.parent->write(page, 2);
      world.expect_read(child, page, stamp, rough);
      world.cluster().run_for(world.random().below(50'000));
      world.parent->write(page, 3);
    }
    world.run();
  });
}

void later_writes_of_a_child_are_never_seen(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    const ProcessPtr writer = world.resume();
    const ProcessPtr sibling = world.resume();
    const ProcessPtr far = world.resume(2);
    if (!writer || !sibling || !far) return world.excuse(rough);
    for (const auto& [page, stamp] : world.expected) {
      writer->write(page, 4);
      world.cluster().run_for(world.random().below(20'000));
    }
    world.expect_all(sibling, rough);
    world.expect_all(far, rough);
    world.run();
    for (const auto& [page, stamp] : world.expected) {
      if (stamp != 0) world.expect_read(world.parent, page, stamp);
    }
    for (const auto& [page, stamp] : world.expected) {
      if (!rough) world.expect_read(writer, page, 4);
    }
    world.run();
  });
}

void a_second_fault_is_idempotent(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    const ProcessPtr child = world.resume();
    if (child == nullptr) return world.excuse(rough);
    for (int thread = 0; thread < 3; ++thread) world.expect_all(child, rough);
    world.run();
    // Faults that come again for pages that are there: as after a pager took a child over.
    for (const auto& [page, stamp] : world.expected) child->child()->on_fault(page);
    world.run();
    world.expect_all(child, rough);
    world.run();
  });
}

void the_parent_may_exit(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    const ProcessPtr child = world.resume();
    if (child == nullptr) return world.excuse(rough);
    world.expect_read(child, World::heap.first + 1, world.expected[World::heap.first + 1], rough);
    world.cluster()[0].exit(world.parent);
    world.parent.reset();
    world.run();
    world.expect_all(child, rough);
    world.run();
  });
}

void small_budgets_change_no_byte(const sim::RunPolicy& policy) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    sim::MachineOptions options;
    options.cache_budget = 10;
    options.landing_pages = seed == 1 ? 3 : 70;
    World world(policy, seed, Weather::calm, options);
    std::vector<ProcessPtr> children;
    for (int i = 0; i < 3; ++i) children.push_back(world.resume());
    for (const ProcessPtr& child : children) {
      ASSERT_NE(child, nullptr);
      world.expect_all(child);
    }
    world.run();
  }
}

void fetching_is_what_the_policy_says(const sim::RunPolicy& policy) {
  World world(policy);
  std::uint64_t remote = 0;
  for (const auto& [page, stamp] : world.expected) remote += stamp != 0 ? 1 : 0;
  const ProcessPtr child = world.resume();
  ASSERT_NE(child, nullptr);
  const ChildStats& stats = child->child()->stats();
  if (policy.eager()) {
    // Everything is there before the first instruction: nothing but zeros is left to fault on.
    EXPECT_EQ(stats.fetched, remote);
    world.expect_all(child);
    world.run();
    EXPECT_EQ(stats.faults, stats.zeros);
  } else {
    // One fault alone brings its page and at most the policy's window, all within its VMA.
    EXPECT_EQ(stats.fetched, 0u);
    world.expect_read(child, World::table.first + 1, world.expected[World::table.first + 1]);
    world.run();
    const std::uint64_t in_vma = World::table.count - 1;
    const std::uint64_t window = policy.name.prefetch;
    EXPECT_EQ(stats.faults, 1u);
    EXPECT_GE(stats.fetched, 1u);
    EXPECT_LE(stats.fetched, 1 + std::min(window, in_vma));
    EXPECT_TRUE(window > 8 || stats.fetched == 1 + window);
  }
  // A second child of the same machine reads from the cache, if there is one.
  const std::uint64_t served = world.cluster()[0].prepared(World::handler)->reads;
  const ProcessPtr second = world.resume();
  ASSERT_NE(second, nullptr);
  world.expect_read(second, World::table.first + 1, world.expected[World::table.first + 1]);
  world.run();
  const std::uint64_t more = world.cluster()[0].prepared(World::handler)->reads - served;
  EXPECT_EQ(more == 0, policy.name.cache == CacheKind::local);
}

}  // namespace mitosis::laws
