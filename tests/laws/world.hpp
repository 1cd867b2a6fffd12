// SPDX-License-Identifier: MIT
// World: a scene for a law: three machines, a parent on the first, and what its pages must read.
#pragma once

#include "laws.hpp"

#include <mitosis/fork/sim/cluster.hpp>

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mitosis::laws {

using sim::Access;
using ProcessPtr = std::shared_ptr<sim::Process>;

/// What a law's network is like.
enum class Weather { calm, rough };

inline sim::Model model(Weather weather) {
  sim::Model m;
  if (weather == Weather::rough) {
    m.faults.loss = 20'000;
    m.faults.delay = 200'000;
    m.faults.unavailable = 50'000;
    m.faults.rpc_failure = 50'000;
  }
  return m;
}

inline constexpr std::uint64_t seconds = 1'000'000'000;

class World {
 public:
  /// Two VMAs with holes: what was never written is zero.
  static constexpr PageRange heap{PageNumber{256}, 160};
  static constexpr PageRange table{PageNumber{1024}, 40};
  static constexpr HandlerId handler{73};

  explicit World(const sim::RunPolicy& policy, std::uint64_t seed = 1,
                 Weather weather = Weather::calm, sim::MachineOptions options = {})
      : policy_(policy), cluster_(3, seed, model(weather), rough(options, weather)) {
    parent = cluster_[0].start();
    for (const PageRange vma : {heap, table}) {
      parent->map(vma);
      for (PageNumber page = vma.first; page < vma.end(); page = page + 1) {
        const std::uint64_t stamp = index(page) % 7 == 0 ? 0 : 10'000 + index(page);
        if (stamp != 0) parent->write(page, stamp);
        expected[page] = stamp;
      }
    }
    auto prepared = cluster_[0].prepare(*parent, handler, policy.name.cow);
    EXPECT_TRUE(prepared.ok());
    ticket = *prepared;
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  /// Whatever a law did: when its processes are gone, nothing is left of them.
  ~World() {
    for (const auto& [on, process] : children_) cluster_[on].exit(process);
    cluster_.run();
    for (std::size_t i = 1; i < cluster_.size(); ++i) {
      EXPECT_EQ(cluster_[i].processes(), 0u) << "drivers are left on machine " << i;
      EXPECT_EQ(cluster_[i].landings_in_use(), 0u) << "landings leak on machine " << i;
      EXPECT_EQ(cluster_[i].pages_filling(), 0u) << "cache claims leak on machine " << i;
    }
  }

  /// A child on machine `on`, when it has executed its first instruction; null if it never does.
  ProcessPtr resume(std::size_t on = 1) { return resume(on, ticket); }
  ProcessPtr resume(std::size_t on, const sim::Ticket& of) {
    ProcessPtr child;
    bool ended = false;
    cluster_.resume(on, of, policy_, [&](Result<ProcessPtr> result) {
      ended = true;
      resume_error = result.code();
      if (result) child = result.value();
    });
    while (!ended && cluster_.events().step()) {
    }
    EXPECT_TRUE(ended) << "a resume that never ends";
    if (child) children_.push_back({on, child});
    return child;
  }
  /// A child that did not come to be: only an eager one in rough weather may fail so early.
  void excuse(bool rough) const {
    EXPECT_TRUE(rough && policy_.eager()) << "resume: " << words(resume_error);
  }
  void adopt(std::size_t on, ProcessPtr process) { children_.push_back({on, std::move(process)}); }

  /// Starts reading a page; the access must end within the page deadline, with the byte or, where
  /// `may_fail`, with an error, never with another byte.
  void expect_read(
      const ProcessPtr& process, PageNumber page, std::uint64_t stamp, bool may_fail = false,
      const std::function<void()>& then = [] {}) {
    const Time until = cluster_.now() + 6 * seconds;
    ++open_;
    process->read(page, [this, page, stamp, may_fail, until, then](Access how, std::uint64_t got) {
      --open_;
      EXPECT_LE(cluster_.now(), until) << "page " << index(page) << " took too long";
      if (how == Access::ok) {
        EXPECT_EQ(got, stamp) << "page " << index(page);
      } else if (may_fail && how == Access::bus_error) {
        ++failed;
      } else {
        ADD_FAILURE() << "page " << index(page) << " cannot be read";
      }
      then();
    });
  }
  /// Reads every expected page, by a dozen threads.
  void expect_all(const ProcessPtr& process, bool may_fail = false) {
    expect_all(process, expected, may_fail);
  }
  void expect_all(const ProcessPtr& process, const std::map<PageNumber, std::uint64_t>& pages,
                  bool may_fail = false) {
    constexpr std::size_t threads = 12;
    std::vector<Share> shares(threads);
    std::size_t next = 0;
    for (const auto& page : pages) shares[next++ / 5 % threads].push_back(page);
    for (auto& share : shares) read_on(process, std::move(share), 0, may_fail);
  }
  /// Until nothing happens any more; every access must have ended.
  void run() {
    cluster_.run();
    EXPECT_EQ(open_, 0) << "accesses hang";
  }

  [[nodiscard]] sim::Cluster& cluster() noexcept { return cluster_; }
  [[nodiscard]] sim::Random& random() noexcept { return cluster_.network().random(); }
  [[nodiscard]] const sim::RunPolicy& policy() const noexcept { return policy_; }

  ProcessPtr parent;
  sim::Ticket ticket;
  std::map<PageNumber, std::uint64_t> expected;  ///< of every mapped page, as of prepare
  Errc resume_error = Errc::ok;
  int failed = 0;  ///< accesses that ended in SIGBUS

 private:
  static sim::MachineOptions rough(sim::MachineOptions options, Weather weather) {
    if (weather == Weather::rough) options.again_per_million = 50'000;
    return options;
  }
  using Share = std::vector<std::pair<PageNumber, std::uint64_t>>;
  void read_on(const ProcessPtr& process, Share share, std::size_t i, bool may_fail) {
    if (i == share.size()) return;
    const auto [page, stamp] = share[i];
    expect_read(process, page, stamp, may_fail,
                [this, process, share, i, may_fail] { read_on(process, share, i + 1, may_fail); });
  }
  struct Child {
    std::size_t on;
    ProcessPtr process;
  };
  sim::RunPolicy policy_;
  sim::Cluster cluster_;
  std::vector<Child> children_;
  int open_ = 0;
};

/// Runs a law's body in both kinds of weather, over some seeds; MITOSIS_LAW_SEEDS=10 makes ten
/// times as many of them.
template <class Body>
void everywhere(const sim::RunPolicy& policy, Body&& body, std::uint64_t seeds = 2) {
  if (const char* factor = std::getenv("MITOSIS_LAW_SEEDS"); factor != nullptr) {
    seeds *= static_cast<std::uint64_t>(std::atoi(factor));
  }
  for (const Weather weather : {Weather::calm, Weather::rough}) {
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
      SCOPED_TRACE((weather == Weather::calm ? "calm, seed " : "rough, seed ") +
                   std::to_string(seed));
      World world(policy, seed, weather);
      body(world, weather == Weather::rough);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace mitosis::laws
