// SPDX-License-Identifier: MIT
// Laws of access: who may read a prepared parent's pages, and until when.
#include "world.hpp"

namespace mitosis::laws {

namespace {

/// Reads half of the pages, then `ends` access; every later read is right or an error.
void read_across_the_end(World& world, const ProcessPtr& child, const std::function<void()>& ends) {
  for (PageNumber page = World::heap.first; page < World::heap.first + 8; page = page + 1) {
    world.expect_read(child, page, world.expected[page]);
  }
  world.cluster().run_for(200'000'000);
  // Some are out at the very moment.
  for (PageNumber page = World::table.first; page < World::table.first + 8; page = page + 1) {
    world.expect_read(child, page, world.expected[page], true);
  }
  world.cluster().run_for(3'500);
  ends();
  world.expect_all(child, true);
  world.run();
}

/// An eager child has everything, a prefetching one may have; one that fetches on demand has not.
void expect_some_failed(const World& world, const sim::RunPolicy& policy) {
  if (policy.eager()) {
    EXPECT_EQ(world.failed, 0);
  } else if (policy.name.fetch == FetchKind::on_demand) {
    EXPECT_GT(world.failed, 0);
  }
}

}  // namespace

void after_reclaim_nothing_more_is_readable(const sim::RunPolicy& policy) {
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    World world(policy, seed);
    const ProcessPtr child = world.resume();
    ASSERT_NE(child, nullptr);
    read_across_the_end(world, child, [&] { world.cluster()[0].reclaim(World::handler); });
    expect_some_failed(world, policy);
    EXPECT_EQ(world.resume(2), nullptr);
    EXPECT_EQ(world.resume_error, Errc::unknown_handler);
  }
}

void after_the_lease_nothing_more_is_readable(const sim::RunPolicy& policy) {
  sim::MachineOptions options;
  options.lease = 1 * seconds;
  World world(policy, 5, Weather::calm, options);
  const ProcessPtr child = world.resume();
  ASSERT_NE(child, nullptr);
  std::uint64_t served = 0;
  read_across_the_end(world, child, [&] {
    world.cluster().run_for(1 * seconds);
    served = world.cluster()[0].prepared(World::handler)->reads;
  });
  expect_some_failed(world, policy);
  EXPECT_EQ(world.cluster()[0].prepared(World::handler)->reads, served);
  EXPECT_EQ(world.resume(2), nullptr);
  EXPECT_EQ(world.resume_error, Errc::lease_expired);
}

void a_wrong_key_opens_nothing(const sim::RunPolicy& policy) {
  World world(policy);
  sim::Ticket wrong = world.ticket;
  wrong.key.bytes[15] ^= 1;
  EXPECT_EQ(world.resume(1, wrong), nullptr);
  EXPECT_EQ(world.resume_error, Errc::wrong_key);
  wrong = world.ticket;
  wrong.handler = HandlerId{74};
  EXPECT_EQ(world.resume(1, wrong), nullptr);
  EXPECT_EQ(world.resume_error, Errc::unknown_handler);
  EXPECT_EQ(world.cluster()[0].prepared(World::handler)->reads, 0u);
}

}  // namespace mitosis::laws
