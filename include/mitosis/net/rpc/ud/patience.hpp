// SPDX-License-Identifier: MIT
// Patience: when a packet is sent again, and when its receiver is given up. World: user; no I/O.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <algorithm>
#include <cstdint>

namespace mitosis::rpc::ud {

/// All times in nanoseconds.
struct PatienceOptions {
  std::uint64_t first = 20'000'000;  ///< before anything is known of the way
  std::uint64_t least = 1'000'000;   ///< whatever was measured: a thread may have to wake up
  std::uint64_t most = 500'000'000;  ///< after doubling
  unsigned tries = 12;               ///< without any answer; then the peer is lost, some 4 s
};

/// The time until a retransmission: by the smoothed round trip (as RFC 6298), doubled at each that
/// brought nothing new. One a session.
class Patience {
 public:
  explicit Patience(PatienceOptions options) noexcept
      : options_(options), interval_(options.first) {}

  /// Waiting begins, or begins anew, because something new was sent or has come.
  void begin(Time now) noexcept {
    silent_ = 0;
    doublings_ = 0;
    due_ = now + interval_;
  }
  void stop() noexcept { due_ = Time::never; }
  /// The peer is there, but has nothing new: it is asked ever more seldom, and not given up.
  void alive() noexcept { silent_ = 0; }
  [[nodiscard]] Time due() const noexcept { return due_; }
  /// It was due. False: there were too many without an answer, the peer is lost.
  [[nodiscard]] bool again(Time now) noexcept {
    if (++silent_ >= options_.tries) return false;
    if (doublings_ < 20) ++doublings_;
    due_ = now + std::min(interval_ << doublings_, std::max(options_.most, interval_));
    return true;
  }
  /// A round trip of something that was sent only once (Karn).
  void measured(std::uint64_t round_trip) noexcept {
    if (smoothed_ == 0) {
      smoothed_ = round_trip;
      variation_ = round_trip / 2;
    } else {
      const std::uint64_t off =
          round_trip > smoothed_ ? round_trip - smoothed_ : smoothed_ - round_trip;
      variation_ = (3 * variation_ + off) / 4;
      smoothed_ = (7 * smoothed_ + round_trip) / 8;
    }
    interval_ = std::clamp(smoothed_ + 4 * variation_, options_.least, options_.most);
  }
  /// Nothing has been sent again since `begin`.
  [[nodiscard]] bool undisturbed() const noexcept { return doublings_ == 0; }
  [[nodiscard]] unsigned tries() const noexcept { return options_.tries; }

 private:
  PatienceOptions options_;
  std::uint64_t interval_;
  std::uint64_t smoothed_ = 0;
  std::uint64_t variation_ = 0;
  Time due_ = Time::never;
  unsigned silent_ = 0;
  unsigned doublings_ = 0;
};

}  // namespace mitosis::rpc::ud
