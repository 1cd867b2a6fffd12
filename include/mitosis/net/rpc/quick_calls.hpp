// SPDX-License-Identifier: MIT
// QuickCalls: calls to one machine, over datagrams where both have them, else over TCP. World:
// user. What can be executed twice without harm goes the quick way first: where that fails, the
// same call goes over TCP. TCP also tells where the peer takes datagrams.
#pragma once

#include <mitosis/net/backoff.hpp>
#include <mitosis/net/rpc/datagram_calls.hpp>
#include <mitosis/net/rpc/turn.hpp>
#include <mitosis/net/rpc/ud/way.hpp>
#include <mitosis/net/tcp/clock.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

namespace mitosis::rpc {

/// Thread-safe, blocking. `Client` is rpc::Client, or stands in for it.
template <class Client>
class QuickCalls {
 public:
  struct Listeners {
    /// Makes the quick way; null: there is none here, and all goes over TCP.
    std::function<Result<std::unique_ptr<DatagramCalls>>(MachineId, const ud::Way&)> open = {};
    /// Which way calls go from now on: ok, by datagrams; else why not. Any thread calls it.
    std::function<void(MachineId, const Error&)> on_change = {};
  };

  /// `tcp` must outlive it.
  QuickCalls(Client& tcp, MachineId machine, Listeners listeners)
      : tcp_(&tcp), machine_(machine), listeners_(std::move(listeners)) {}
  QuickCalls(const QuickCalls&) = delete;
  QuickCalls& operator=(const QuickCalls&) = delete;

  Result<FetchedDescriptor> query_descriptor(HandlerId handler, const AuthKey& key, Time deadline) {
    return call<FetchedDescriptor>(
        deadline, [&](auto& calls, Time by) { return calls.query_descriptor(handler, key, by); });
  }
  Result<void> fallback_read(const TargetName& target, std::uint64_t address, MutableBytes into,
                             Time deadline) {
    return call<void>(deadline, [&](auto& calls, Time by) {
      return calls.fallback_read(target, address, into, by);
    });
  }
  Result<std::uint64_t> renew_lease(HandlerId handler, Generation generation, Time deadline) {
    return call<std::uint64_t>(
        deadline, [&](auto& calls, Time by) { return calls.renew_lease(handler, generation, by); });
  }
  /// The peer is elsewhere: the next call asks for its way anew.
  void forget() {
    const std::lock_guard lock(mutex_);
    quick_.reset();
  }
  /// Ends the call in progress, for good; the TCP client is closed by its owner.
  void close() {
    std::shared_ptr<DatagramCalls> ended;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      ended = quick_;
    }
    if (ended) ended->close();
  }

 private:
  static constexpr std::uint64_t ask_ms = 500;                    ///< for the peer's way
  static constexpr std::uint64_t first_pause = 1'000'000'000;     ///< ns
  static constexpr std::uint64_t longest_pause = 60'000'000'000;  ///< ns

  /// Another thread's call by datagrams is waited for so long; then this one goes over TCP.
  static constexpr std::chrono::milliseconds busy{20};

  template <class T, class Call>
  Result<T> call(Time deadline, Call one) {
    const std::shared_ptr<DatagramCalls> quick = quick_way(deadline);
    // A way that is busy is not to blame for it.
    if (auto turn = quick ? turn_.take(busy) : std::nullopt) {
      // The other half is TCP's.
      const Time now = tcp::monotonic_now();
      const std::uint64_t left =
          deadline > now ? static_cast<std::uint64_t>(deadline) - static_cast<std::uint64_t>(now)
                         : 0;
      Result<T> done = one(*quick, now + left / 2);
      turn.reset();
      if (done.ok()) works();
      if (done.ok() || !of_the_way(done.code())) return done;
      failed(quick, done.error());
    }
    return one(*tcp_, deadline);
  }
  /// What the way itself may be the reason of; all else is the peer's answer.
  static bool of_the_way(Errc code) noexcept {
    return code == Errc::connection_lost || code == Errc::machine_unreachable ||
           code == Errc::timed_out || code == Errc::system_call_failed ||
           code == Errc::limit_exceeded || code == Errc::bad_message ||
           code == Errc::transport_unsupported;
  }
  /// Null: not now.
  std::shared_ptr<DatagramCalls> quick_way(Time deadline) {
    const Time now = tcp::monotonic_now();
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || !listeners_.open || quick_) return closed_ ? nullptr : quick_;
      if (asking_ || now < backoff_.again_at()) return nullptr;
      asking_ = true;
    }
    const auto way = tcp_->query_way(std::min(deadline, tcp::deadline_in(ask_ms)));
    Result<std::unique_ptr<DatagramCalls>> made =
        way.ok() ? listeners_.open(machine_, *way) : way.error();
    const bool opened = made.ok();
    std::shared_ptr<DatagramCalls> quick;
    {
      const std::lock_guard lock(mutex_);
      asking_ = false;
      if (opened && !closed_) quick_ = std::move(made).value();
      if (!opened) pause();
      quick = quick_;
    }
    if (quick && listeners_.on_change) listeners_.on_change(machine_, Error());
    return quick;
  }
  /// With mutex_ held: not at once even after a first failure, for each costs its caller seconds.
  void pause() {
    const Time now = tcp::monotonic_now();
    backoff_.failed(now);
    if (backoff_.again_at() <= now) backoff_.failed(now);
  }
  void works() {
    const std::lock_guard lock(mutex_);
    backoff_.works();
  }
  void failed(const std::shared_ptr<DatagramCalls>& quick, const Error& why) {
    {
      const std::lock_guard lock(mutex_);
      if (quick_ != quick || closed_) return;
      quick_.reset();  // the peer's way may be another by now
      pause();
    }
    if (listeners_.on_change) listeners_.on_change(machine_, why);
  }

  Client* tcp_;
  MachineId machine_;
  Listeners listeners_;
  Turn turn_;  ///< of calls by datagrams: a way takes one at a time
  std::mutex mutex_;
  std::shared_ptr<DatagramCalls> quick_;
  Backoff backoff_{first_pause, longest_pause};
  bool asking_ = false;
  bool closed_ = false;
};

}  // namespace mitosis::rpc
