// SPDX-License-Identifier: MIT
// Laws of changing memory: what the child does to its own mappings, while its pages are on their
// way.
#include "program.hpp"
#include "world.hpp"

namespace mitosis::laws {

namespace {

/// Every page of the range is asked for; some reads are out, some have ended.
void start_reading(World& world, const ProcessPtr& child, PageRange range) {
  for (std::uint64_t i = 0; i < range.count; i += 3) {
    child->read(range.first + i, [](Access, auto) {});
  }
  world.cluster().run_for(world.random().below(30'000));
}

}  // namespace

void removed_pages_read_zero(const sim::RunPolicy& policy) {
  everywhere(
      policy,
      [](World& world, bool rough) {
        const ProcessPtr child = world.resume();
        if (child == nullptr) return world.excuse(rough);
        const PageRange gone{World::heap.first + 20, 50};
        start_reading(world, child, gone);
        bool done = false;
        child->remove(gone, [&] { done = true; });
        while (!done) world.cluster().run_for(1'000);
        for (std::uint64_t i = 0; i < gone.count; ++i) world.expected[gone.first + i] = 0;
        world.expect_all(child, rough);
        world.run();
        // What the parent has is not the child's to give away.
        const ProcessPtr sibling = world.resume();
        if (sibling != nullptr) {
          world.expect_read(sibling, gone.first + 1, 10'000 + index(gone.first + 1), rough);
        }
        world.run();
      },
      4);
}

void moved_pages_keep_their_bytes(const sim::RunPolicy& policy) {
  everywhere(
      policy,
      [](World& world, bool rough) {
        const ProcessPtr child = world.resume();
        if (child == nullptr) return world.excuse(rough);
        const PageRange from{World::heap.first + 30, 40};
        const PageNumber to{4096};
        start_reading(world, child, from);
        child->move(from, to);
        std::map<PageNumber, std::uint64_t> moved;
        for (std::uint64_t i = 0; i < from.count; ++i) {
          moved[to + i] = world.expected[from.first + i];
          world.expected.erase(from.first + i);
        }
        world.expect_all(child, moved, rough);
        world.expect_all(child, rough);
        world.run();
        child->read(from.first + 5,
                    [](Access how, auto) { EXPECT_EQ(how, Access::segmentation_fault); });
        world.run();
      },
      4);
}

void unmapped_pages_are_gone(const sim::RunPolicy& policy) {
  everywhere(
      policy,
      [](World& world, bool rough) {
        const ProcessPtr child = world.resume();
        if (child == nullptr) return world.excuse(rough);
        const PageRange gone{World::heap.first + 50, 60};
        start_reading(world, child, gone);
        bool done = false;
        child->unmap(gone, [&] { done = true; });
        for (std::uint64_t i = 0; i < gone.count; ++i) {
          child->read(gone.first + i,
                      [](Access how, auto) { EXPECT_EQ(how, Access::segmentation_fault); });
          world.expected.erase(gone.first + i);
        }
        world.expect_all(child, rough);
        while (!done) world.cluster().run_for(1'000);
        // A fresh mapping at the same place is fresh.
        child->map(gone);
        for (std::uint64_t i = 0; i < gone.count; ++i) {
          world.expect_read(child, gone.first + i, 0, rough);
        }
        world.run();
      },
      4);
}

void split_mappings_still_read(const sim::RunPolicy& policy) {
  everywhere(policy, [](World& world, bool rough) {
    const ProcessPtr child = world.resume();
    if (child == nullptr) return world.excuse(rough);
    start_reading(world, child, World::heap);
    for (int i = 0; i < 6; ++i) {
      child->protect({World::heap.first + world.random().below(150), 1 + world.random().below(9)});
    }
    world.expect_all(child, rough);
    world.run();
  });
}

void a_forked_process_reads_the_same_bytes(const sim::RunPolicy& policy) {
  everywhere(
      policy,
      [](World& world, bool rough) {
        const ProcessPtr child = world.resume();
        if (child == nullptr) return world.excuse(rough);
        const PageNumber written = World::table.first + 1;
        child->write(written, 5);
        world.cluster().run_for(6 * seconds);
        start_reading(world, child, World::heap);  // and fork while reads are out
        const ProcessPtr forked = world.cluster()[1].fork(*child);
        world.adopt(1, forked);
        auto of_child = world.expected;
        if (child->memory().has(written)) of_child[written] = 5;
        // Both go on, and neither sees the other's writes.
        child->write(World::heap.first + 2, 6);
        forked->write(World::table.first + 2, 7);
        auto of_forked = of_child;
        of_child.erase(World::heap.first + 2);
        of_forked.erase(World::table.first + 2);
        world.expect_all(child, of_child, rough);
        world.expect_all(forked, of_forked, rough);
        world.run();
      },
      4);
}

void grandchildren_read_each_page_from_its_ancestor(const sim::RunPolicy& policy) {
  everywhere(policy, [&](World& world, bool rough) {
    const ProcessPtr child = world.resume(1);
    if (child == nullptr) return world.excuse(rough);
    auto of_child = world.expected;
    for (std::uint64_t i = 0; i < 20; ++i) {
      const PageNumber page = World::heap.first + 100 + i;
      child->write(page, 500 + i, [&, page, i](Access how) {
        if (how == Access::ok) of_child[page] = 500 + i;
      });
    }
    world.cluster().run_for(6 * seconds);
    child->move({World::table.first, 4}, PageNumber{9000});
    for (std::uint64_t i = 0; i < 4; ++i) {
      of_child[PageNumber{9000} + i] = of_child[World::table.first + i];
      of_child.erase(World::table.first + i);
    }
    world.cluster().run_for(1'000'000);
    const auto prepared = world.cluster()[1].prepare(*child, HandlerId{74}, policy.name.cow);
    ASSERT_TRUE(prepared.ok());
    child->write(World::heap.first + 101, 8);  // too late to be seen
    const std::uint64_t before = world.cluster()[0].prepared(World::handler)->reads;
    const ProcessPtr grandchild = world.resume(2, *prepared);
    if (grandchild == nullptr) return world.excuse(rough);
    world.expect_all(grandchild, of_child, rough);
    world.run();
    EXPECT_GT(world.cluster()[1].prepared(HandlerId{74})->reads, 0u);
    if (!policy.eager()) {
      // The child has not pulled everything first: the rest came from the first machine.
      EXPECT_GT(world.cluster()[0].prepared(World::handler)->reads, before);
    }
  });
}

void random_programs_see_what_they_must(const sim::RunPolicy& policy) {
  everywhere(
      policy,
      [](World& world, bool rough) {
        const ProcessPtr child = world.resume();
        if (child == nullptr) return world.excuse(rough);
        Program program(world, child, rough);
        program.run(150);
      },
      4);
}

}  // namespace mitosis::laws
