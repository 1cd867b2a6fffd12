// SPDX-License-Identifier: MIT
// Streams: notices sequential readers. World: any (freestanding).
// A window of N pages a fault stalls a sequential reader for a round trip every N pages. A reader
// that uses windows up in order gets the next ones posted ahead, 2, 4, 8 of them, so that the
// wire never idles; a reader that jumps about gets its N pages and no more.
#pragma once

#include <mitosis/mem/page.hpp>

#include <cstdint>

namespace mitosis {

/// One reader that goes upwards.
struct Stream {
  PageNumber low{};         ///< where its last fault was
  PageNumber next{};        ///< the first page that is not asked for yet
  PageNumber mark{};        ///< a fault from here on proves that a window was used up
  std::uint64_t depth = 0;  ///< windows to keep ahead; 0: no stream
  std::uint64_t last_use = 0;
};

/// A handful of streams, as many as a process is likely to read at once; the one that was silent
/// for the longest makes room. N is the policy's window.
template <std::uint64_t N>
class Streams {
 public:
  /// Windows ahead at most: 512 pages' worth, but two windows in any case.
  static constexpr std::uint64_t max_depth = N >= 256 ? 2 : N >= 32 ? 512 / N : 16;

  /// The stream that a fault at `page` belongs to, deepened if it has used a window up; or null.
  Stream* hit(PageNumber page) noexcept {
    for (Stream& s : streams_) {
      if (s.depth == 0 || page < s.low || page > s.next) continue;
      s.low = page;
      s.last_use = ++clock_;
      if (page >= s.mark) {
        s.depth = s.depth * 2 < max_depth ? s.depth * 2 : max_depth;
        s.mark = page + N + 1;
      }
      return &s;
    }
    return nullptr;
  }

  /// A reader was seen for the first time, at `page`; its first window ends before `next`.
  void start(PageNumber page, PageNumber next) noexcept {
    Stream* oldest = &streams_[0];
    for (Stream& s : streams_) {
      if (s.last_use < oldest->last_use) oldest = &s;
    }
    *oldest = {page, next, next, 1, ++clock_};
  }

  /// Whether another whole window fits before the stream is as far ahead as it should be.
  static bool wants_more(const Stream& s) noexcept {
    return s.next > s.low && s.next - s.low - 1 <= (s.depth - 1) * N;
  }

 private:
  Stream streams_[4];
  std::uint64_t clock_ = 0;
};

/// Nothing is read ahead.
template <>
class Streams<0> {};

}  // namespace mitosis
