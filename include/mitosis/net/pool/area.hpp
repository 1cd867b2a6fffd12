// SPDX-License-Identifier: MIT
// Area: the memory that a process shares with its machine's connection pool: requests one way,
// their ends the other, and the bytes that are read, written, sent and received. World: user.
// Neither side trusts the other's indices: what is taken is copied out first, then looked at.
#pragma once

#include <mitosis/base/errc.hpp>
#include <mitosis/base/span.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace mitosis::pool {

enum class Op : std::uint8_t { connect = 1, listen, read, write, send, receive, close };

/// One request. `offset`s are into the process's data, remote ones into what the service exposes.
struct Request {
  std::uint64_t cookie = 0;
  Op op = Op::connect;
  std::uint32_t queue = 0;    ///< read, write, send, close
  std::uint32_t machine = 0;  ///< connect
  std::uint32_t bytes = 0;
  std::uint64_t service = 0;  ///< connect, listen
  std::uint64_t offset = 0;
  std::uint64_t remote = 0;
};

/// The end of one request. Every request has one, but for those of a process that is gone.
struct Completion {
  std::uint64_t cookie = 0;
  Errc status = Errc::ok;
  Op op = Op::connect;
  std::uint32_t queue = 0;  ///< connect: the new one; receive: from whom, to answer on
  std::uint32_t bytes = 0;  ///< receive: how many came; connect: how many are exposed, at most 4 G
};

/// A ring with one writer and one reader, in different processes. Indices only grow.
template <class Item, std::uint32_t Capacity>
class SharedRing {
  static_assert((Capacity & (Capacity - 1)) == 0);

 public:
  /// False where it is full.
  bool push(const Item& item) noexcept {
    const std::uint32_t at = written_.load(std::memory_order_relaxed);
    if (at - read_.load(std::memory_order_acquire) >= Capacity) return false;
    items_[at % Capacity] = item;
    written_.store(at + 1, std::memory_order_seq_cst);  // before the look at who sleeps
    return true;
  }
  bool pop(Item& item) noexcept {
    const std::uint32_t at = read_.load(std::memory_order_relaxed);
    if (written_.load(std::memory_order_seq_cst) == at) return false;
    item = items_[at % Capacity];
    read_.store(at + 1, std::memory_order_release);
    return true;
  }
  [[nodiscard]] bool empty() const noexcept {
    return written_.load(std::memory_order_seq_cst) == read_.load(std::memory_order_relaxed);
  }

 private:
  alignas(64) std::atomic<std::uint32_t> written_{0};
  alignas(64) std::atomic<std::uint32_t> read_{0};
  alignas(64) Item items_[Capacity];
};

inline constexpr std::uint32_t max_requests = 256;    ///< of a process, not ended yet
inline constexpr std::uint32_t max_message = 4096;    ///< bytes
inline constexpr std::uint64_t max_data = 256 << 20;  ///< bytes that a process shares, at most

/// At the start of the shared memory; the data begins at `data_at`.
struct Area {
  SharedRing<Request, max_requests> requests;
  SharedRing<Completion, max_requests> completions;
  alignas(64) std::atomic<std::uint32_t> pool_sleeps{0};     ///< it wants its doorbell
  alignas(64) std::atomic<std::uint32_t> process_sleeps{0};  ///< it wants to be woken
};
inline constexpr std::size_t data_at = (sizeof(Area) + 4095) / 4096 * 4096;
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace mitosis::pool
