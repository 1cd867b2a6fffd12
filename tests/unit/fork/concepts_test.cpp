// SPDX-License-Identifier: MIT
// The concepts of fork/platform.hpp accept the bare minimum and refuse less.
#include "archetype.hpp"

#include <mitosis/fork/no_cache.hpp>

#include <gtest/gtest.h>

namespace mitosis {

using archetype::World;

static_assert(ChildMemory<archetype::Memory> && !ChildMemory<archetype::Wire>);
static_assert(PageCache<archetype::Pages> && !PageCache<archetype::Memory>);
static_assert(Fabric<archetype::Wire> && !Fabric<archetype::Rpc>);
static_assert(Fallback<archetype::Rpc> && !Fallback<archetype::Wire>);
static_assert(Platform<World> && !Platform<archetype::Memory>);

// One member less, or one that may throw, is no model.
struct MemoryWithoutFail {
  InstallResult copy_in(PageRange, const std::uint8_t*) noexcept;
  InstallResult zero_in(PageRange) noexcept;
  InstallResult map_cached(PageRange, PageNumber) noexcept;
  void wake(PageRange) noexcept;
};
static_assert(!ChildMemory<MemoryWithoutFail>);
struct ThrowingMemory : archetype::Memory {
  InstallResult copy_in(PageRange, const std::uint8_t*);
};
static_assert(!ChildMemory<ThrowingMemory>);
struct WorldWithoutClock : World {
  Time now() = delete;
};
static_assert(!Platform<WorldWithoutClock>);
struct WorldWithoutMemory : World {
  archetype::Wire& memory() noexcept;
};
static_assert(!Platform<WorldWithoutMemory>);
struct BlockingFallback {
  Errc read(const ReadRequest&) noexcept;
};
static_assert(!Fallback<BlockingFallback>);

}  // namespace mitosis

// Every member, for every kind of policy.
namespace mitosis {
template class Child<Policy<Fetch<OnDemand>>, World>;
template class Child<Policy<Fetch<Prefetch<8>>>, World>;
template class Child<Policy<Fetch<Prefetch<512>>, Cache<Local>, Profile<On>>, World>;
template class Child<Policy<Fetch<Eager>>, World>;
template class Child<Policy<Fetch<Eager>, Cache<Local>>, World>;

namespace {

// With a heap that has nothing, nothing can be marked: the fault must end in an error.
TEST(Archetype, AFaultWithoutMemoryForThePageMapIsNoHang) {
  Child<Policy<>, World> child(World(), 1);
  child.on_fault(PageNumber{5});  // in no run: zero
  EXPECT_EQ(child.stats().zeros, 1u);
  EXPECT_TRUE(child.idle());
}

}  // namespace
}  // namespace mitosis
