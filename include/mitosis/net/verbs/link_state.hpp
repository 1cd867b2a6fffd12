// SPDX-License-Identifier: MIT
// LinkState: when a connection may be used, and when it is to be made again. World: user.
// Pure: it is told what happens and decides; it knows no device.
#pragma once

#include <mitosis/net/backoff.hpp>

#include <cstdint>

namespace mitosis::verbs {

/// down -> making -> up, and down again after each failure, with a pause that doubles. It can be up
/// where no packet gets through: only a read tells, and takes a second or more to. The first pause
/// is long enough for the reads of some pages to go the other way at once.
class LinkState {
 public:
  static constexpr std::uint64_t first_pause = 200'000'000;      ///< ns
  static constexpr std::uint64_t longest_pause = 2'000'000'000;  ///< ns
  enum class State : std::uint8_t { down, making, up };

  /// Somebody has something to send: true where a connection is to be made now.
  [[nodiscard]] bool wanted(Time now) noexcept {
    if (state_ != State::down || now < backoff_.again_at()) return false;
    state_ = State::making;
    ++attempt_;
    return true;
  }
  /// An attempt has ended; false where that is of no interest any more (it was forgotten).
  [[nodiscard]] bool made(std::uint64_t attempt, bool well, Time now) noexcept {
    if (state_ != State::making || attempt != attempt_) return false;
    if (!well) {
      fail(now);
      return false;
    }
    state_ = State::up;
    return true;
  }
  /// A read has succeeded: the next failure is a first one.
  void works() noexcept { backoff_.works(); }
  /// The connection, or the attempt to make it, has failed.
  void fail(Time now) noexcept {
    state_ = State::down;
    backoff_.failed(now);
  }
  /// Somebody wants it down, without blame.
  void forget() noexcept {
    state_ = State::down;
    backoff_.forget();
  }
  [[nodiscard]] bool up() const noexcept { return state_ == State::up; }
  [[nodiscard]] std::uint64_t attempt() const noexcept { return attempt_; }

 private:
  State state_ = State::down;
  std::uint64_t attempt_ = 0;
  Backoff backoff_{first_pause, longest_pause};
};

}  // namespace mitosis::verbs
