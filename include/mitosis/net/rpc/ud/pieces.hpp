// SPDX-License-Identifier: MIT
// Assembly and Pieces: a message cut into what fits a datagram, and put together again.
// World: user; no I/O. Pieces come late, twice and in any order.
#pragma once

#include <mitosis/base/span.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

namespace mitosis::rpc::ud {

/// How many pieces of `piece_bytes` a message has: an empty one has one too.
[[nodiscard]] constexpr std::uint32_t piece_count(std::uint32_t total,
                                                  std::uint32_t piece_bytes) noexcept {
  return total == 0 ? 1 : (total - 1) / piece_bytes + 1;
}
/// One piece of a message.
[[nodiscard]] inline Bytes piece_of(Bytes message, std::uint32_t piece,
                                    std::uint32_t piece_bytes) noexcept {
  return message.sub(std::size_t{piece} * piece_bytes, piece_bytes);
}

/// A message that is being received.
class Assembly {
 public:
  /// The caller has checked `total` against its limit: this allocates as much.
  void start(std::uint32_t total, std::uint32_t piece_bytes) {
    bytes_.assign(total, 0);
    piece_bytes_ = piece_bytes;
    has_.assign(piece_count(total, piece_bytes), false);
    next_ = 0;
    end_ = 0;
  }
  /// False: it is none of this message (number or length), and was not taken.
  bool add(std::uint32_t piece, Bytes payload) noexcept {
    if (piece >= has_.size()) return false;
    const std::size_t at = std::size_t{piece} * piece_bytes_;
    const std::size_t length =
        bytes_.size() - at < piece_bytes_ ? bytes_.size() - at : piece_bytes_;
    if (payload.size() != length) return false;
    if (piece >= end_) end_ = piece + 1;
    if (has_[piece]) return true;
    if (length != 0) std::memcpy(bytes_.data() + at, payload.data(), length);
    has_[piece] = true;
    while (next_ < has_.size() && has_[next_]) ++next_;
    return true;
  }
  [[nodiscard]] bool complete() const noexcept { return next_ == has_.size(); }
  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(has_.size());
  }
  [[nodiscard]] std::uint32_t total() const noexcept {
    return static_cast<std::uint32_t>(bytes_.size());
  }
  /// The first that is missing; count() where none is.
  [[nodiscard]] std::uint32_t next() const noexcept { return next_; }
  /// Behind the last that has come.
  [[nodiscard]] std::uint32_t end() const noexcept { return end_; }
  /// Bit i: piece next() + 1 + i has come.
  [[nodiscard]] std::uint64_t mask() const noexcept {
    std::uint64_t mask = 0;
    for (std::size_t i = 0; i < 64 && next_ + 1 + i < has_.size(); ++i) {
      if (has_[next_ + 1 + i]) mask |= std::uint64_t{1} << i;
    }
    return mask;
  }
  [[nodiscard]] std::vector<std::uint8_t> take() noexcept {
    has_.clear();
    return std::exchange(bytes_, {});
  }

 private:
  std::vector<std::uint8_t> bytes_;
  std::vector<bool> has_;
  std::uint32_t piece_bytes_ = 1;
  std::uint32_t next_ = 0;
  std::uint32_t end_ = 0;
};

/// Whether `piece` is told to have come by a `got` or `pull` of (first, mask).
[[nodiscard]] constexpr bool has_come(std::uint32_t piece, std::uint32_t first,
                                      std::uint64_t mask) noexcept {
  if (piece < first) return true;
  if (piece == first || piece - first > 64) return false;
  return (mask >> (piece - first - 1) & 1) != 0;
}

/// Which pieces of a message that is being sent the receiver has: no more than `credits` that it
/// is not known to have are on their way.
class Pieces {
 public:
  void start(std::uint32_t count, std::uint32_t credits) {
    has_.assign(count, false);
    base_ = 0;
    sent_ = 0;
    credits_ = credits;
  }
  /// The next one that was never sent, and may be; count() where there is none.
  std::uint32_t fresh() noexcept {
    if (sent_ < has_.size() && sent_ - base_ < credits_) return sent_++;
    return count();
  }
  /// What the receiver tells. True: it had told less before.
  bool got(std::uint32_t first, std::uint64_t mask) noexcept {
    bool more = false;
    for (std::uint32_t piece = base_; piece < sent_; ++piece) {
      if (has_[piece] || !has_come(piece, first, mask)) continue;
      has_[piece] = more = true;
    }
    while (base_ < sent_ && has_[base_]) ++base_;
    return more;
  }
  [[nodiscard]] std::uint32_t count() const noexcept {
    return static_cast<std::uint32_t>(has_.size());
  }
  [[nodiscard]] bool all_there() const noexcept { return base_ == has_.size(); }
  /// The first that it may lack, and behind the last that was sent.
  [[nodiscard]] std::uint32_t base() const noexcept { return base_; }
  [[nodiscard]] std::uint32_t sent() const noexcept { return sent_; }
  [[nodiscard]] bool lacks(std::uint32_t piece) const noexcept { return !has_[piece]; }

 private:
  std::vector<bool> has_;
  std::uint32_t base_ = 0;
  std::uint32_t sent_ = 0;
  std::uint32_t credits_ = 1;
};

}  // namespace mitosis::rpc::ud
