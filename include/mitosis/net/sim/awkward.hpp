// SPDX-License-Identifier: MIT
// Fabrics that a driver must survive: one that answers what it is told to, one that fails
// everything, one that reorders, one that completes late. World: sim. A real network rarely does
// these; a driver that relied on its not doing them would fail once a month.
#pragma once

#include <mitosis/net/fabric.hpp>
#include <mitosis/net/sim/network.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace mitosis::sim {

/// Every request ends at once, as `answer` says at that time; nothing is read. Has what a fabric
/// that sleeps has besides, with nothing to wait for.
class AnsweringFabric {
 public:
  /// The answer must outlive it.
  explicit AnsweringFabric(const Errc& answer) : answer_(&answer) {}

  void post(Span<const ReadRequest> batch) noexcept {
    for (const ReadRequest& request : batch) done_.push_back({request.cookie, *answer_});
  }
  std::size_t poll(Span<ReadCompletion> done, Time) noexcept {
    std::size_t n = 0;
    for (; n < done.size() && !done_.empty(); ++n) {
      done[n] = done_.back();
      done_.pop_back();
    }
    return n;
  }
  void forget(MachineId) noexcept {}
  [[nodiscard]] bool busy() const noexcept { return !done_.empty(); }
  [[nodiscard]] int wait_fd() const noexcept { return -1; }
  [[nodiscard]] Time next_deadline() const noexcept { return Time::never; }

 private:
  const Errc* answer_;
  std::vector<ReadCompletion> done_;
};
static_assert(Fabric<AnsweringFabric>);

/// Every request fails at once, with `why`.
class FailingFabric {
 public:
  FailingFabric(Network& network, std::function<void()> on_ready, Errc why)
      : network_(network), on_ready_(std::move(on_ready)), why_(why) {}
  FailingFabric(const FailingFabric&) = delete;

  void post(Span<const ReadRequest> batch) noexcept {
    answers_.post(batch);
    network_.events().after(0, 1, on_ready_);
  }
  std::size_t poll(Span<ReadCompletion> done, Time now) noexcept {
    return answers_.poll(done, now);
  }
  void forget(MachineId) noexcept {}

 private:
  Network& network_;
  std::function<void()> on_ready_;
  const Errc why_;
  AnsweringFabric answers_{why_};
};
static_assert(Fabric<FailingFabric>);

/// Reads at once, but its completions come in any order, each `spread` ns late at most: later than
/// their deadlines, if that is what `spread` says. (That breaks Fabric's contract: a driver must
/// get by all the same.)
class ScatteringFabric {
 public:
  ScatteringFabric(Network& network, std::function<void()> on_ready, std::uint64_t least,
                   std::uint64_t spread)
      : network_(network), on_ready_(std::move(on_ready)), least_(least), spread_(spread) {}
  ScatteringFabric(const ScatteringFabric&) = delete;

  void post(Span<const ReadRequest> batch) noexcept {
    for (const ReadRequest& request : batch) {
      const std::uint64_t late = least_ + network_.random().below(spread_);
      network_.events().after(late, 2, [this, request, alive = std::weak_ptr<int>(alive_)] {
        if (alive.lock() != nullptr) complete(request);
      });
    }
  }
  std::size_t poll(Span<ReadCompletion> done, Time) noexcept {
    std::size_t n = 0;
    for (; n < done.size() && !done_.empty(); ++n) {
      done[n] = done_.back();
      done_.pop_back();
    }
    return n;
  }
  void forget(MachineId) noexcept {}

 private:
  void complete(const ReadRequest& request) {
    const Errc status = network_.up(request.peer)
                            ? network_.read(request.peer, request.target, request.remote_address,
                                            MutableBytes(request.into.data, request.bytes))
                            : Errc::machine_unreachable;
    done_.push_back({request.cookie, status});
    on_ready_();
  }

  Network& network_;
  std::function<void()> on_ready_;
  std::uint64_t least_, spread_;
  std::vector<ReadCompletion> done_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};
static_assert(Fabric<ScatteringFabric>);

}  // namespace mitosis::sim
