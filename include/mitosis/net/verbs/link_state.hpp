// SPDX-License-Identifier: MIT
// LinkState: when a connection may be used, and when it is to be made again. World: user.
// Pure: it is told what happens and decides; it knows no device.
#pragma once

#include <mitosis/net/fabric.hpp>

#include <cstdint>

namespace mitosis::verbs {

/// down -> making -> up, and down again after each failure, with a pause that doubles.
class LinkState {
 public:
  static constexpr std::uint64_t first_pause = 10'000'000;       ///< ns
  static constexpr std::uint64_t longest_pause = 2'000'000'000;  ///< ns
  enum class State : std::uint8_t { down, making, up };

  /// Somebody has something to send: true where a connection is to be made now.
  [[nodiscard]] bool wanted(Time now) noexcept {
    if (state_ != State::down || now < retry_at_) return false;
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
  void works() noexcept { failures_ = 0; }
  /// The connection, or the attempt to make it, has failed.
  void fail(Time now) noexcept {
    state_ = State::down;
    std::uint64_t pause = failures_ == 0 ? 0 : first_pause;
    for (std::uint32_t i = 1; i < failures_ && pause < longest_pause; ++i) pause *= 2;
    retry_at_ = now + (pause < longest_pause ? pause : longest_pause);
    ++failures_;
  }
  /// Somebody wants it down, without blame.
  void forget() noexcept {
    state_ = State::down;
    failures_ = 0;
    retry_at_ = Time{0};
  }
  [[nodiscard]] bool up() const noexcept { return state_ == State::up; }
  [[nodiscard]] std::uint64_t attempt() const noexcept { return attempt_; }

 private:
  State state_ = State::down;
  std::uint64_t attempt_ = 0;
  std::uint32_t failures_ = 0;  ///< in a row
  Time retry_at_{0};
};

}  // namespace mitosis::verbs
