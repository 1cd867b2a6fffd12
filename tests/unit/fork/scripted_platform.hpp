// SPDX-License-Identifier: MIT
// A platform that a test steps by hand. World: user.
// It records what the driver does, and answers as it is told.
#pragma once

#include "scene.hpp"

#include <mitosis/fork/child.hpp>

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <vector>

namespace mitosis::test {

/// What the driver has done, and what it will be answered.
struct Script {
  Time now{1'000'000};
  std::vector<ReadRequest> posted;  ///< and not completed by the test yet
  std::vector<ReadRequest> asked;   ///< of the fallback
  std::vector<PageRange> installed, zeroed, woken;
  std::vector<std::pair<PageNumber, Errc>> failed;
  std::uint64_t doorbells = 0, landings = 0, landing_limit = ~std::uint64_t{0};
  /// Overrides the answer to an installation; null: done.
  std::function<InstallResult(PageRange)> answer;
  Shelf shelf;
  CacheWaiters waiters;

  InstallResult install(PageRange range, std::vector<PageRange>& log) {
    const InstallResult result = answer ? answer(range) : InstallResult{Install::done, range.count};
    if (result.pages > 0) log.push_back({range.first, result.pages});
    return result;
  }
  InstallResult copy_in(PageRange range, const std::uint8_t*) noexcept {
    return install(range, installed);
  }
  InstallResult zero_in(PageRange range) noexcept { return install(range, zeroed); }
  InstallResult map_cached(PageRange range, PageNumber) noexcept {
    return install(range, installed);
  }
  void fail(PageNumber page, Errc why) noexcept { failed.push_back({page, why}); }
  void wake(PageRange range) noexcept { woken.push_back(range); }

  void post(Span<const ReadRequest> batch) noexcept {
    ++doorbells;
    posted.insert(posted.end(), batch.begin(), batch.end());
  }
  std::size_t poll(Span<ReadCompletion>, Time) noexcept { return 0; }
  void forget(MachineId) noexcept {}
  void read(const ReadRequest& request) noexcept { asked.push_back(request); }

  /// Takes the oldest posted request away.
  ReadRequest take() {
    EXPECT_FALSE(posted.empty());
    const ReadRequest request = posted.front();
    posted.erase(posted.begin());
    return request;
  }
};

/// Models Platform over a script that the test keeps.
struct ScriptedPlatform {
  using Allocator = FragileHeap;
  Script* script;
  [[nodiscard]] FragileHeap allocator() const noexcept { return {}; }
  Script& memory() noexcept { return *script; }
  Shelf& cache() noexcept { return script->shelf; }
  Script& fabric() noexcept { return *script; }
  Script& fallback() noexcept { return *script; }
  CacheWaiters& waiters() noexcept { return script->waiters; }
  Time now() noexcept { return script->now; }
  Owner owner(std::uint16_t index) noexcept { return {MachineId{index}, {index, 9}}; }
  LocalMemory acquire_landing(std::uint64_t pages) noexcept {
    if (script->landings + pages > script->landing_limit) return {};
    script->landings += pages;
    return {script->shelf.memory, 0};
  }
  void release_landing(LocalMemory, std::uint64_t pages) noexcept { script->landings -= pages; }
};
static_assert(Platform<ScriptedPlatform>);

/// A child of the scene's parent, in entry 7, whose reads end when the test says so.
template <LegalPolicy P>
struct Driven {
  Scene scene;
  Script script;
  Child<P, ScriptedPlatform> child{ScriptedPlatform{&script}, 7};

  Driven() { EXPECT_EQ(child.load(scene.view()), Errc::ok); }
  void advance(std::uint64_t ns) {
    script.now = script.now + ns;
    child.on_time(script.now);
  }
  void complete(Errc status = Errc::ok) { child.on_completion(script.take().cookie, status); }
  void complete_all() {
    while (!script.posted.empty()) complete();
  }
};

}  // namespace mitosis::test
